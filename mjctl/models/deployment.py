"""What a deploy, destroy, plan, drift or rollback did to one region."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


class Outcome(StrEnum):
    """How a region ended.

    `planned`: changes are known and were not applied. `waiting`: what it needs is published by a stack that must be
    applied first, so its changes are not known yet. `not_started`: an earlier region stopped the rollout.
    `unhealthy`: applied, and refused by the health gate. `rolled_back`: brought back to its last good revision after
    it had failed or turned unhealthy, or because a person asked for it.
    """

    UNCHANGED = "unchanged"
    PLANNED = "planned"
    WAITING = "waiting"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    NOT_STARTED = "not_started"
    UNHEALTHY = "unhealthy"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Change:
    """One resource's planned change. `action`: create, update, replace, delete or read."""

    address: str
    action: str
    reason: str | None = None


@dataclass(frozen=True)
class Violation:
    """A planned change that a rule forbids. `what`: the action, and what would be lost."""

    rule: str
    address: str
    what: str

    def __str__(self) -> str:
        return f"{self.address}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What the health gate says of a region. `failing`: `<check>: <summary>` of the last look that failed."""

    healthy: bool
    looks: int
    seconds: float
    failing: tuple[str, ...] = ()

    def __str__(self) -> str:
        looks = f"{self.looks} look{'s' if self.looks != 1 else ''} in {self.seconds:.0f} s"
        return f"healthy, {looks}" if self.healthy else f"unhealthy after {looks}: {'; '.join(self.failing)}"


@dataclass(frozen=True)
class RegionResult:
    """`region` may also be a stack that exists once: `foundation`, `edge`.

    `add`, `change`, `remove` count resources; `seconds` is wall time; `error` is set when it failed.
    `revision` is what runs in the region afterwards, as far as that is known; `refused` the revision that was tried
    and given up. `ignored` are drifted resources that the environment's file says to overlook. `waits_for`: what must
    be applied before this can be planned. `violations`: planned changes that are not made unasked.
    """

    region: str
    outcome: Outcome
    add: int = 0
    change: int = 0
    remove: int = 0
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    error: MjctlError | None = None
    revision: str | None = None
    refused: str | None = None
    verdict: Verdict | None = None
    ignored: tuple[Change, ...] = ()
    waits_for: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        if self.outcome is Outcome.ROLLED_BACK:
            return self.refused is None
        return self.outcome in _GOOD


_GOOD = frozenset({Outcome.UNCHANGED, Outcome.PLANNED, Outcome.WAITING, Outcome.APPLIED, Outcome.DESTROYED})
