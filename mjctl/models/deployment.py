"""The results of a deploy, destroy, plan, drift or rollback, for each unit and for the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.release import Release


class Phase(StrEnum):
    """Lists the phases of a unit during a run, as the progress display names them."""

    WAITING = "waiting"
    INIT = "initialising"
    PLAN = "planning"
    SCHEMA = "updating the schema"
    APPLY = "applying"
    GATE = "watching its health"
    ROLLBACK = "rolling back"
    DESTROY = "destroying"
    FINISHED = "finished"


class UnitOutcome(StrEnum):
    """Lists the outcomes of a command for a unit."""

    UNCHANGED = "unchanged"
    PLANNED = "planned"
    """Terraform has planned changes, and the command did not apply them."""
    WAITING = "waiting"
    """The unit cannot be planned yet, because it reads outputs of another stack that must be applied first."""
    APPLIED = "applied"
    DESTROYED = "destroyed"
    NOT_STARTED = "not_started"
    """The rollout stopped at an earlier region, so that this unit was not changed."""
    NOT_DEPLOYED = "not_deployed"
    """The command selected every region, and this region is not deployed."""
    UNHEALTHY = "unhealthy"
    """The changes were applied, and the region failed its health gate."""
    ROLLED_BACK = "rolled_back"
    """The unit runs an earlier revision again, after a failed deploy or because an operator requested the rollback."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Hidden(Enum):
    """Replaces a plan's value that is not shown.

    A `Hidden` equals no string, so that no value of a plan can be confused with a hidden value.
    """

    SENSITIVE = "(sensitive)"
    UNKNOWN = "(known after apply)"
    SEVERAL = "(several values)"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class AttributeChange:
    """Describes the change of an attribute.

    Attributes:
        path: The attribute, e.g. `a.b[0]`. A key in the path that is not a plain word is quoted: `tags["a b"]`.
        before: The old JSON value, None if there was no value, or `Hidden`.
        after: The new JSON value, None if there is no value, or `Hidden`.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """Describes the planned change of a resource.

    Attributes:
        address: The resource's address in Terraform.
        action: create, update, replace, delete, forget, read, move or import; in Terraform's stream of JSON events also
            noop. `forget` means that the resource continues to exist and Terraform no longer manages it.
        reason: Terraform's reason for the action, e.g. `cannot_update`, or None.
        resource_type: The type as Terraform reports it, e.g. `aws_kms_key`. The resource type is not parsed from the
            address, because a key of `for_each` in an address may contain any character.
        attributes: The changed attributes, with secrets masked.
        forced_by: The paths of the attributes that cannot be changed in place and so force the replacement of the
            resource.
    """

    address: str
    action: str
    reason: str | None = None
    resource_type: str = ""
    attributes: tuple[AttributeChange, ...] = ()
    forced_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Violation:
    """Describes a planned change that a rule forbids.

    Attributes:
        rule: The name of the rule.
        address: The resource's address in Terraform.
        what: The action, and the data that would be lost.
    """

    rule: str
    address: str
    what: str

    def __str__(self) -> str:
        return f"{self.address}: {self.what}"


@dataclass(frozen=True)
class GateVerdict:
    """Holds the decision of the health gate about a region.

    Attributes:
        healthy: True if the rollout may continue.
        looks: The number of times that the gate ran the health checks.
        seconds: The time for which the gate observed the region.
        failing: `CHECK: SUMMARY` for each check that failed in the last unsuccessful round of checks.
    """

    healthy: bool
    looks: int
    seconds: float
    failing: tuple[str, ...] = ()

    def __str__(self) -> str:
        observations = f"{self.looks} observation{'s' if self.looks != 1 else ''} in {self.seconds:.0f} s"
        if self.healthy:
            return f"healthy after {observations}"
        return f"unhealthy after {observations}: {'; '.join(self.failing)}"


@dataclass(frozen=True)
class SchemaUpdate:
    """Holds the result of the migrations that a deploy has run.

    Attributes:
        region: The region of the database's writer, where the migrations ran.
        heads: The newest migrations of the database before the deploy, e.g. `0003`; empty for a new database.
        applied: The names of the migrations that the deploy has run, e.g. `0004_match_events`.
    """

    region: str
    heads: tuple[str, ...]
    applied: tuple[str, ...]

    def __str__(self) -> str:
        if not self.applied:
            return f"schema: up to date at {', '.join(self.heads) or 'no migration'}"
        count = f"{len(self.applied)} migration{'s' if len(self.applied) != 1 else ''}"
        return f"schema: {count} applied in {self.region}: {', '.join(self.applied)}"


@dataclass(frozen=True)
class UnitResult:
    """Holds the result of a command for a unit.

    Attributes:
        unit: A region, `foundation` or `edge`.
        outcome: The outcome of the command for the unit.
        add: The number of resources that Terraform plans to create or has created.
        change: The number of resources that Terraform plans to update or has updated.
        remove: The number of resources that Terraform plans to delete or has deleted.
        changes: The planned changes of resources.
        seconds: The duration in wall time.
        error: The reason of a failure, else None.
        revision: The revision that the unit has after the command, or None if the revision is unknown.
        refused: The revision that was applied and rolled back, or None.
        verdict: The decision of the health gate, or None if the gate did not check the unit.
        ignored: The drift that the environment's file says to ignore.
        waits_for: The units that must be applied before this unit can be planned.
        violations: The planned changes that need the operator's explicit permission.
        notes: Lines for people about differences from the recorded state and the effect of repairing them.
        schema: The migrations that the deploy has run before or after the apply of this unit, or None.
    """

    unit: str
    outcome: UnitOutcome
    add: int = 0
    change: int = 0
    remove: int = 0
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    error: MjctlError | None = None
    revision: str | None = None
    refused: str | None = None
    verdict: GateVerdict | None = None
    ignored: tuple[Change, ...] = ()
    waits_for: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()
    schema: SchemaUpdate | None = None

    @property
    def forget(self) -> int:
        """Return the number of resources that continue to exist and that Terraform no longer manages.

        Terraform's summary of a plan does not count forgotten resources.
        """
        return sum(change.action == "forget" for change in self.changes)

    @property
    def ok(self) -> bool:
        """Return whether the unit is in the state that the command was to reach.

        `ok` is False for a unit that was rolled back after a failure.
        """
        if self.outcome is UnitOutcome.ROLLED_BACK:
            return self.refused is None
        return self.outcome in _GOOD


_GOOD = frozenset(
    {UnitOutcome.UNCHANGED, UnitOutcome.PLANNED, UnitOutcome.WAITING, UnitOutcome.APPLIED, UnitOutcome.DESTROYED}
)


@dataclass(frozen=True)
class RunResult:
    """Holds the results of a command that works on units.

    Attributes:
        command: `deploy`, `plan`, `drift`, `destroy`, `rollback` or `servers scale`.
        results: The result of each unit.
        release: The release that the command planned or applied; None for a command without a release, e.g. `drift`.
        only_planned: True if the command plans changes and does not apply them.
    """

    command: str
    results: tuple[UnitResult, ...]
    release: Release | None = None
    only_planned: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """Return CHANGES_PENDING if the command only plans and found changes, else the result of `exit_code`."""
        code = exit_code(self.results)
        pending = any(result.outcome in (UnitOutcome.PLANNED, UnitOutcome.WAITING) for result in self.results)
        return ExitCode.CHANGES_PENDING if self.only_planned and pending and code is ExitCode.OK else code


def exit_code(results: Sequence[UnitResult]) -> ExitCode:
    """Return the exit code of a command by the results of its units.

    The first of these rules that applies decides the exit code:

    - INTERRUPTED if a unit was interrupted.
    - UNHEALTHY if a region failed its health gate.
    - OK if no unit failed.
    - PARTIAL if some units failed and others succeeded.
    - The code of the error if the errors of all failed units have the same code.
    - FAILED otherwise.
    """
    if any(result.outcome is UnitOutcome.INTERRUPTED for result in results):
        return ExitCode.INTERRUPTED
    if any(result.verdict is not None and not result.verdict.healthy for result in results):
        return ExitCode.UNHEALTHY
    untouched = (UnitOutcome.NOT_STARTED, UnitOutcome.NOT_DEPLOYED)
    failed = [result for result in results if not result.ok and result.outcome not in untouched]
    if not failed:
        return ExitCode.OK
    if any(result.ok for result in results):
        return ExitCode.PARTIAL
    causes = {result.error.exit_code for result in failed if result.error}
    return causes.pop() if len(causes) == 1 else ExitCode.FAILED


def note_lines(results: Sequence[UnitResult]) -> list[str]:
    """Return the notes of all units as lines for people."""
    return [f"note: {result.unit}: {note}" for result in results for note in result.notes]
