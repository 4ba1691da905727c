"""The JSON documents of the commands that pipelines read. docs/schemas/ publishes them:
`python -m mjctl.cli.output.documents docs/schemas`; a test holds the files and the commands to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mjctl.deploy.history import Record
from mjctl.models.contract import Endpoints
from mjctl.models.deployment import AttributeChange, Change, Hidden, UnitResult
from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttributeDocument(_Document):
    """One attribute that changes. A value that is hidden is null here."""

    path: str = Field(description='`a.b[0]`; a key that is no plain word is quoted: `tags["a b"]`')
    before: object
    after: object
    sensitive: bool = Field(description="both values are secret and not shown")
    before_hidden: bool = Field(description="there is an old value, which is not shown")
    known_after_apply: bool = Field(description="the new value is not known before the apply")


class ChangeDocument(_Document):
    address: str
    action: Literal["create", "update", "replace", "delete", "read", "move", "import", "forget"]
    reason: str | None
    resource_type: str
    forced_by: tuple[str, ...] = Field(description="paths of the attributes that cannot be changed in place")
    attributes: tuple[AttributeDocument, ...]


class ViolationDocument(_Document):
    rule: Literal["keeps-data"]
    address: str
    what: str


class ErrorDocument(_Document):
    code: int
    name: str
    what: str
    where: str | None
    next: str | None


class VerdictDocument(_Document):
    """What the health gate found."""

    healthy: bool
    looks: int
    seconds: float
    failing: tuple[str, ...]


class RegionDocument(_Document):
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


class RunDocument(_Document):
    """plan, drift, deploy, destroy, rollback, servers scale."""

    command: str
    environment: str
    exit_code: int
    regions: tuple[RegionDocument, ...]


class RegionRecordDocument(_Document):
    region: str
    outcome: str
    revision: str | None
    refused: str | None
    seconds: float
    error: str | None


class RecordDocument(_Document):
    id: str
    at: str
    command: str
    who: str
    message: str | None
    revision: str | None
    commit: str | None
    names: tuple[str, ...]
    regions: tuple[RegionRecordDocument, ...]
    exit_code: int | None = Field(description="null while it runs, or when it was killed")
    seconds: float | None


class HistoryDocument(_Document):
    """history: the newest run first."""

    environment: str
    runs: tuple[RecordDocument, ...]


class CheckDocument(_Document):
    region: str
    name: str
    status: Literal["pass", "warn", "fail", "skip"]
    severity: Literal["critical", "major", "minor"] = Field(
        description="what a failure means: players cannot play; a spare or a safeguard is missing; operators see less"
    )
    summary: str
    hint: str | None
    duration_seconds: float
    evidence: dict[str, object]


class RegionHealthDocument(_Document):
    region: str
    status: Literal["pass", "warn", "fail", "skip"]


class HealthDocument(_Document):
    """health."""

    environment: str
    status: Literal["pass", "warn", "fail", "skip"]
    healthy: bool
    started_at: str
    duration_seconds: float
    counts: dict[str, int]
    regions: tuple[RegionHealthDocument, ...]
    checks: tuple[CheckDocument, ...]


class BootstrapDocument(_Document):
    """bootstrap."""

    environment: str
    account_id: str
    outcome: Literal["unchanged", "changed", "made"]
    bucket: str
    region: str
    kms_key_arn: str
    state: str = Field(description="where the bucket's own state lies, s3://...")


class FunctionsDocument(_Document):
    path: str
    sha256_base64: str = Field(description="as Terraform's source_code_hash wants it")
    architecture: str
    python: str
    zipped_bytes: int
    unzipped_bytes: int
    made: bool = Field(description="false: the archive of this code was there")


class ImageDocument(_Document):
    repository: str
    revision: str
    digest: str
    made: bool = Field(description="false: the image of this code was in the registry")
    reference: str


class PackageDocument(_Document):
    """package."""

    environment: str
    revision: str = Field(description="digest of the game's code")
    functions: FunctionsDocument
    image: ImageDocument | None = Field(description="null without --push")


class EmulatorDocument(_Document):
    """A running emulator."""

    name: str
    state: Literal["up"]
    version: str
    pid: int
    url: str
    memory_bytes: int
    uptime_seconds: float
    log: str


class StoppedEmulatorDocument(_Document):
    name: str
    state: Literal["down"]


class SandboxUpDocument(_Document):
    """sandbox up."""

    environment: str
    account_id: str
    started: tuple[str, ...] = Field(description="emulators that were not running before")
    state_kept: bool = Field(description="what was deployed before is there again")
    emulators: tuple[EmulatorDocument, ...]
    variables: dict[str, str] = Field(description="for the AWS CLI, boto3 and Terraform")


class SandboxDownDocument(_Document):
    """sandbox down."""

    environment: str
    stopped: tuple[str, ...]
    forgotten: tuple[str, ...] = Field(description="stacks that were deployed, with --forget")


class SandboxStatusDocument(_Document):
    """sandbox status."""

    environment: str
    state: Literal["up", "partly up", "down"]
    emulators: tuple[EmulatorDocument | StoppedEmulatorDocument, ...]


class DrillPartDocument(_Document):
    kind: Literal["table", "database", "cache"]
    name: str
    target: str
    archived: int
    expired: int
    expiring: int
    durable: int
    found: int
    equal: bool
    seconds: float
    sampled: int = Field(description="managed: items of the copy that were compared with the live table's")
    same: int = Field(description="managed: how many of them are equal")


class DrillDocument(_Document):
    region: str
    backup_id: str
    proven: bool
    scratch: str
    removed: bool
    error: str | None
    seconds: dict[str, float]
    not_proven: tuple[str, ...] = Field(description="parts of the backup that the drill did not compare")
    parts: tuple[DrillPartDocument, ...]
    checks: tuple[CheckDocument, ...]


class FailedRegionDocument(_Document):
    region: str
    error: ErrorDocument


class DrillsDocument(_Document):
    """backup drill."""

    regions: tuple[DrillDocument | FailedRegionDocument, ...]


PUBLISHED: Mapping[str, type[BaseModel]] = {
    "backup-drill": DrillsDocument,
    "bootstrap": BootstrapDocument,
    "health": HealthDocument,
    "history": HistoryDocument,
    "package": PackageDocument,
    "run": RunDocument,
    "sandbox-down": SandboxDownDocument,
    "sandbox-status": SandboxStatusDocument,
    "sandbox-up": SandboxUpDocument,
}


def run_document(
    command: str,
    environment: str,
    code: ExitCode,
    results: Sequence[UnitResult],
    addresses: Mapping[str, Endpoints],
) -> RunDocument:
    return RunDocument(
        command=command,
        environment=environment,
        exit_code=int(code),
        regions=tuple(_region(result, addresses.get(result.unit)) for result in results),
    )


def history_document(environment: str, records: Sequence[Record]) -> HistoryDocument:
    from dataclasses import asdict

    return HistoryDocument(
        environment=environment, runs=tuple(RecordDocument.model_validate(asdict(one)) for one in records)
    )


def schema(name: str) -> str:
    """The text of docs/schemas/<name>.json."""
    document = PUBLISHED[name].model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=2) + "\n"


def _region(result: UnitResult, endpoints: Endpoints | None) -> RegionDocument:
    verdict = result.verdict
    return RegionDocument(
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
        error=_error(result.error) if result.error else None,
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


def _error(error: MjctlError) -> ErrorDocument:
    from mjctl.cli.output.run_view import error_data

    return ErrorDocument(**error_data(error))


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        (folder / f"{name}.json").write_text(schema(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
