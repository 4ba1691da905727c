"""What a deploy, destroy, plan, drift or rollback did to one region."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from mjctl.models.errors import MjctlError


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
        action: create, update, replace, delete, forget, read, move or import. `forget`: the resource stays in the
            world and Terraform no longer manages it.
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
        looks = f"{self.looks} look{'s' if self.looks != 1 else ''} in {self.seconds:.0f} s"
        return f"healthy, {looks}" if self.healthy else f"unhealthy after {looks}: {'; '.join(self.failing)}"


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
