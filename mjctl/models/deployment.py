"""What a deploy, destroy, plan, drift or rollback did to one region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from mjctl.models.errors import MjctlError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.release import Release


class Phase(StrEnum):
    """Where a region is in its run; shown live."""

    WAITING = "waiting"
    INIT = "initialising"
    PLAN = "planning"
    APPLY = "applying"
    GATE = "watching its health"
    ROLLBACK = "rolling back"
    DESTROY = "destroying"
    FINISHED = "finished"


class UnitOutcome(StrEnum):
    """How a region ended.

    `planned`: changes are known and were not applied. `waiting`: what it needs is published by a stack that must be
    applied first, so its changes are not known yet. `not_started`: an earlier region stopped the rollout.
    `not_deployed`: the command was meant for every region, and this region has nothing to work on.
    `unhealthy`: applied, and refused by the health gate. `rolled_back`: brought back to its last good revision after
    it had failed or turned unhealthy, or because a person asked for it.
    """

    UNCHANGED = "unchanged"
    PLANNED = "planned"
    WAITING = "waiting"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    NOT_STARTED = "not_started"
    NOT_DEPLOYED = "not_deployed"
    UNHEALTHY = "unhealthy"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Hidden(Enum):
    """Stands in a plan for a value that is not shown. It equals no string, so a value cannot be mistaken for it."""

    SENSITIVE = "(sensitive)"
    UNKNOWN = "(known after apply)"
    SEVERAL = "(several values)"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class AttributeChange:
    """One attribute's old and new value.

    Attributes:
        path: `a.b[0]`; a key that is no plain word is quoted: `tags["a b"]`.
        before, after: A JSON value, None where there is no value, or `Hidden`.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """One resource's planned change.

    Attributes:
        action: create, update, replace, delete, forget, read, move or import; in Terraform's stream also noop.
            `forget`: the resource stays in the world and Terraform no longer manages it.
        reason: Terraform's own word for why, e.g. `cannot_update`.
        resource_type: Terraform's own word, e.g. `aws_kms_key`. An address is not parsed for it: a key of `for_each`
            may hold any character.
        attributes: What changes in the resource, secrets masked.
        forced_by: Paths of the attributes that cannot be changed in place.
    """

    address: str
    action: str
    reason: str | None = None
    resource_type: str = ""
    attributes: tuple[AttributeChange, ...] = ()
    forced_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Violation:
    """A planned change that a rule forbids. `what`: the action, and what would be lost."""

    rule: str
    address: str
    what: str

    def __str__(self) -> str:
        return f"{self.address}: {self.what}"


@dataclass(frozen=True)
class GateVerdict:
    """What the health gate says of a region. `failing`: `<check>: <summary>` of the last look that failed."""

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
class UnitResult:
    """`unit` is a region or a stack that exists once: `foundation`, `edge`.

    `add`, `change`, `remove` count resources; `seconds` is wall time; `error` is set when it failed.
    `revision` is what runs in the region afterwards, as far as that is known; `refused` the revision that was tried
    and given up. `ignored` are drifted resources that the environment's file says to overlook. `waits_for`: what must
    be applied before this can be planned. `violations`: planned changes that are not made unasked. `notes`: lines for
    people on what was found in the world and what repairing it means.
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

    @property
    def forget(self) -> int:
        """How many resources stay in the world and are no longer managed. Terraform's own summary omits them."""
        return sum(change.action == "forget" for change in self.changes)

    @property
    def ok(self) -> bool:
        if self.outcome is UnitOutcome.ROLLED_BACK:
            return self.refused is None
        return self.outcome in _GOOD


_GOOD = frozenset(
    {UnitOutcome.UNCHANGED, UnitOutcome.PLANNED, UnitOutcome.WAITING, UnitOutcome.APPLIED, UnitOutcome.DESTROYED}
)


@dataclass(frozen=True)
class RunResult:
    """The results of one run, by unit.

    Attributes:
        command: `deploy`, `plan`, `drift`, `destroy`, `rollback` or `servers scale`.
        release: The code that the run planned or applied; None if it has no code of its own, e.g. a drift.
        only_planned: Changes were planned and were not meant to be applied.
    """

    command: str
    results: tuple[UnitResult, ...]
    release: Release | None = None
    only_planned: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """As `exit_code`; CHANGES_PENDING if a run that only plans has found changes."""
        code = exit_code(self.results)
        pending = any(result.outcome in (UnitOutcome.PLANNED, UnitOutcome.WAITING) for result in self.results)
        return ExitCode.CHANGES_PENDING if self.only_planned and pending and code is ExitCode.OK else code


def exit_code(results: Sequence[UnitResult]) -> ExitCode:
    """Return the exit code of a run.

    INTERRUPTED if a unit was stopped; UNHEALTHY if the health gate refused a region; PARTIAL if only some units
    failed. If all failed with the same code, that code; otherwise FAILED.
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
