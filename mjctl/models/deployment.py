"""What a deploy, destroy, plan or drift did to one region."""

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
    DESTROY = "destroying"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a region ended. `planned`: changes are known and were not applied."""

    UNCHANGED = "unchanged"
    PLANNED = "planned"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Change:
    """One resource's planned change. `action`: create, update, replace, delete or read."""

    address: str
    action: str
    reason: str | None = None


@dataclass(frozen=True)
class RegionResult:
    """`add`, `change`, `remove` count resources; `seconds` is wall time; `error` is set when it failed."""

    region: str
    outcome: Outcome
    add: int = 0
    change: int = 0
    remove: int = 0
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    error: MjctlError | None = None

    @property
    def ok(self) -> bool:
        return self.outcome not in (Outcome.FAILED, Outcome.INTERRUPTED)
