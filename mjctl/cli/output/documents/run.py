"""The JSON document of the commands that run Terraform: plan, drift, deploy, destroy, rollback and servers scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, ErrorDocument, JsonDocument, error_data
from mjctl.models.contract import Endpoints
from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitResult


class AttributeDocument(JsonDocument):
    """Describes an attribute that changes. The value of a hidden attribute is null."""

    path: str = Field(
        description='path of the attribute, such as `a.b[0]`; a key with special characters is quoted: `tags["a b"]`'
    )
    before: object = Field(description="the old value; null if the attribute is new or the value is hidden")
    after: object = Field(description="the new value; null if the attribute is removed or the value is hidden")
    sensitive: bool = Field(description="true if the old or the new value is hidden, because it is secret")
    before_hidden: bool = Field(description="true if there is an old value that is hidden")
    known_after_apply: bool = Field(description="true if the new value is known only after the apply")


class ChangeDocument(JsonDocument):
    """Describes the planned change of a resource."""

    address: str = Field(description="Terraform's address of the resource")
    action: Literal["create", "update", "replace", "delete", "read", "move", "import", "forget"]
    reason: str | None = Field(description="Terraform's reason for the action; null if Terraform gives none")
    resource_type: str
    forced_by: tuple[str, ...] = Field(description="paths of the attributes that cannot be changed in place")
    attributes: tuple[AttributeDocument, ...]


class ViolationDocument(JsonDocument):
    """Describes a planned change that violates the data-loss policy."""

    rule: Literal["keeps-data"]
    address: str = Field(description="Terraform's address of the resource")
    what: str = Field(description="the data that would be lost, in one sentence")


class VerdictDocument(JsonDocument):
    """Describes the verdict of the health gate."""

    healthy: bool
    looks: int = Field(description="how many times the gate ran the checks")
    seconds: float = Field(description="seconds for which the gate observed the region")
    failing: tuple[str, ...] = Field(
        description="`CHECK: SUMMARY` of up to five checks that made the region unhealthy; empty for a healthy region"
    )


class SchemaDocument(JsonDocument):
    """Describes the migrations of the database that a deploy has run."""

    region: str = Field(description="the region of the database's writer")
    heads: tuple[str, ...] = Field(description="newest migrations before the deploy; empty for a new database")
    applied: tuple[str, ...] = Field(description="names of the migrations that have run, in their order")


class UnitDocument(JsonDocument):
    """Describes the result of a unit."""

    region: str = Field(description="name of the unit: a region, or `foundation` or `edge` of an environment on AWS")
    outcome: Literal[
        "unchanged",
        "planned",
        "waiting",
        "applied",
        "destroyed",
        "not_started",
        "not_deployed",
        "unhealthy",
        "rolled_back",
        "failed",
        "interrupted",
    ]
    add: int = Field(description="number of resources that are added")
    change: int = Field(description="number of resources that are changed in place")
    remove: int = Field(description="number of resources that are deleted")
    forget: int = Field(description="number of resources that continue to exist and are no longer managed")
    seconds: float
    revision: str | None = Field(description="the revision that runs after the command; null if it is not known")
    refused: str | None = Field(
        description="the revision whose apply failed or that was rolled back; null if there is none"
    )
    changes: tuple[ChangeDocument, ...]
    violations: tuple[ViolationDocument, ...] = Field(
        description="planned changes that mjctl does not apply without --allow-data-loss"
    )
    waits_for: tuple[str, ...] = Field(description="units that must be applied before this unit can be planned")
    ignored: tuple[ChangeDocument, ...] = Field(description="drift that drift.ignore of the environment's file lists")
    notes: tuple[str, ...] = Field(
        description="lines for people, for example about missing parts or about servers that a deploy starts again"
    )
    health: VerdictDocument | None = Field(
        description="the verdict of the health gate; null if no gate observed the unit"
    )
    database_schema: SchemaDocument | None = Field(
        description="the migrations that the deploy has run with this unit; null for other units and other commands"
    )
    error: ErrorDocument | None
    api: str | None = Field(description="address of the region's API")
    web: str | None = Field(description="address at which the game is played in a browser")


class RunDocument(Envelope):
    """Describes the output of `plan`, `drift`, `deploy`, `destroy`, `rollback` and `servers scale`."""

    exit_code: int
    regions: tuple[UnitDocument, ...]


def unit_entries(results: Sequence[UnitResult], addresses: Mapping[str, Endpoints]) -> list[UnitDocument]:
    """Return the entry of each unit in the JSON document.

    Args:
        results: the result of each unit.
        addresses: region -> its endpoints, for the regions that are deployed.
    """
    return [_unit(result, addresses.get(result.unit)) for result in results]


def _unit(result: UnitResult, endpoints: Endpoints | None) -> UnitDocument:
    verdict = result.verdict
    return UnitDocument(
        region=result.unit,
        outcome=result.outcome.value,
        add=result.add,
        change=result.change,
        remove=result.remove,
        forget=result.forget,
        seconds=round(result.seconds, 2),
        revision=result.revision,
        refused=result.refused,
        changes=tuple(map(_change, result.changes)),
        violations=tuple(
            ViolationDocument(rule="keeps-data", address=violation.address, what=violation.what)
            for violation in result.violations
        ),
        waits_for=result.waits_for,
        ignored=tuple(map(_change, result.ignored)),
        notes=result.notes,
        health=VerdictDocument(
            healthy=verdict.healthy, looks=verdict.looks, seconds=round(verdict.seconds, 2), failing=verdict.failing
        )
        if verdict
        else None,
        database_schema=SchemaDocument.model_validate(asdict(result.schema)) if result.schema else None,
        error=ErrorDocument.model_validate(error_data(result.error)) if result.error else None,
        api=endpoints.api if endpoints else None,
        web=endpoints.web if endpoints else None,
    )


def _change(change: Change) -> ChangeDocument:
    return ChangeDocument.model_validate(
        {
            "address": change.address,
            "action": change.action,
            "reason": change.reason,
            "resource_type": change.resource_type,
            "forced_by": change.forced_by,
            "attributes": tuple(map(_attribute, change.attributes)),
        }
    )


def _attribute(attribute: AttributeChange) -> AttributeDocument:
    before, after = attribute.before, attribute.after
    return AttributeDocument(
        path=attribute.path,
        before=None if isinstance(before, Hidden) else before,
        after=None if isinstance(after, Hidden) else after,
        sensitive=Hidden.SENSITIVE in (before, after),
        before_hidden=isinstance(before, Hidden),
        known_after_apply=after is Hidden.UNKNOWN,
    )
