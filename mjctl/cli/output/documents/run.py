"""The document of the commands that run Terraform: plan, drift, deploy, destroy, rollback, servers scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, ErrorDocument, JsonDocument, error_data
from mjctl.models.contract import Endpoints
from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitResult


class AttributeDocument(JsonDocument):
    """One attribute that changes. A value that is hidden is null here."""

    path: str = Field(description='`a.b[0]`; a key that is no plain word is quoted: `tags["a b"]`')
    before: object
    after: object
    sensitive: bool = Field(description="both values are secret and not shown")
    before_hidden: bool = Field(description="there is an old value, which is not shown")
    known_after_apply: bool = Field(description="the new value is not known before the apply")


class ChangeDocument(JsonDocument):
    address: str
    action: Literal["create", "update", "replace", "delete", "read", "move", "import", "forget"]
    reason: str | None
    resource_type: str
    forced_by: tuple[str, ...] = Field(description="paths of the attributes that cannot be changed in place")
    attributes: tuple[AttributeDocument, ...]


class ViolationDocument(JsonDocument):
    rule: Literal["keeps-data"]
    address: str
    what: str


class VerdictDocument(JsonDocument):
    """The verdict of the health gate."""

    healthy: bool
    looks: int
    seconds: float
    failing: tuple[str, ...]


class UnitDocument(JsonDocument):
    """The result of one unit."""

    region: str = Field(description="a region, or `foundation` and `edge`: what a production environment has once")
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
    add: int
    change: int
    remove: int
    forget: int = Field(description="resources that stay in the world and are no longer managed")
    seconds: float
    revision: str | None = Field(description="what runs in the region afterwards, as far as it is known")
    refused: str | None = Field(description="the revision that was tried and given up")
    changes: tuple[ChangeDocument, ...]
    violations: tuple[ViolationDocument, ...] = Field(description="planned changes that are not made unasked")
    waits_for: tuple[str, ...] = Field(description="what must be applied before the changes here can be known")
    ignored: tuple[ChangeDocument, ...] = Field(description="drift that the environment's file says to overlook")
    notes: tuple[str, ...] = Field(description="what was found in the world, and what repairing it means")
    health: VerdictDocument | None
    error: ErrorDocument | None
    api: str | None
    web: str | None = Field(description="where the game is played in a browser")


class RunDocument(Envelope):
    """plan, drift, deploy, destroy, rollback, servers scale."""

    exit_code: int
    regions: tuple[UnitDocument, ...]


def unit_entries(results: Sequence[UnitResult], addresses: Mapping[str, Endpoints]) -> list[UnitDocument]:
    """Return the entry of each unit. `addresses`: of the regions that are up."""
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
            ViolationDocument(rule="keeps-data", address=one.address, what=one.what) for one in result.violations
        ),
        waits_for=result.waits_for,
        ignored=tuple(map(_change, result.ignored)),
        notes=result.notes,
        health=VerdictDocument(
            healthy=verdict.healthy, looks=verdict.looks, seconds=round(verdict.seconds, 2), failing=verdict.failing
        )
        if verdict
        else None,
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
