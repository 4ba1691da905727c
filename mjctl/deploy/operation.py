"""One operation of a session: its locks, its stretches of work, its approval and its record in the history."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from mjctl.deploy.executor import Deployment, NoReporter, PlannedUnit, Reporter, discard, locked
from mjctl.deploy.gate import Gate
from mjctl.deploy.history import History
from mjctl.deploy.planner import policy
from mjctl.deploy.planner.desired_state import Planner
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.deploy.releases.store import ReleaseStore
from mjctl.deploy.rollout import Rollout, RolloutPlan
from mjctl.deploy.staged import StagedRollout
from mjctl.models.deployment import UnitOutcome, UnitResult, exit_code, note_lines
from mjctl.models.environment import Environment
from mjctl.models.errors import MjctlError, RefusedError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.terraform.engine import Engine, find_engine
from mjctl.terraform.runner import Cancellation, Runner
from mjctl.terraform.stack import Stack

_T = TypeVar("_T")

Approve = Callable[[Sequence[UnitResult]], bool]
"""Receives what is planned, and returns whether to apply it. It may raise a MjctlError that says why not."""
Reporting = Callable[[Cancellation], AbstractContextManager[Reporter]]
"""Opens the reporter of one stretch of work, inside of its event loop. Setting the cancellation stops the work."""


@contextmanager
def no_reporting(_: Cancellation) -> Iterator[Reporter]:
    """Report no progress."""
    yield NoReporter()


class StopSwitch:
    """Stops the work that runs now and all later work. Any thread may set it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._set = False
        self._running: tuple[asyncio.AbstractEventLoop, Cancellation] | None = None

    def set(self) -> None:
        with self._guard:
            self._set = True
            if self._running is not None:
                loop, cancellation = self._running
                loop.call_soon_threadsafe(cancellation.event.set)

    @contextmanager
    def attached(self, cancellation: Cancellation) -> Iterator[None]:
        """Let the switch set `cancellation`, which belongs to the running event loop."""
        with self._guard:
            self._running = (asyncio.get_running_loop(), cancellation)
            if self._set:
                cancellation.event.set()
        try:
            yield
        finally:
            with self._guard:
                self._running = None


@dataclass(frozen=True)
class Operation:
    """One call of a session: locks, event loop, approval and history.

    Attributes:
        command: The name under which locks and history show the operation.
        message, lock_timeout_seconds, allow_data_loss, say, reporting: See DeploySession.
    """

    command: str
    workspace: Workspace
    environment: Environment
    store: ReleaseStore
    message: str | None
    lock_timeout_seconds: float
    allow_data_loss: bool
    say: Callable[[str], None]
    reporting: Reporting
    stop: StopSwitch

    @cached_property
    def engine(self) -> Engine:
        return find_engine()

    def locked(self, stacks: Sequence[Stack]) -> AbstractContextManager[None]:
        """Lock every unit or none, see mjctl.deploy.executor."""
        return locked(
            stacks, self.command, message=self.message, wait_seconds=self.lock_timeout_seconds, on_wait=self.say
        )

    def roll_out(
        self,
        planner: Planner,
        planned: Sequence[PlannedUnit],
        *,
        approve: Approve,
        rollout: RolloutPlan | None = None,
        gate: Gate | None = None,
        release: Release | None = None,
        kept: PlanFolder | None = None,
    ) -> list[UnitResult]:
        """Ask, apply by waves, keep it in the history. If one plan could not be made, nothing is applied anywhere.

        Args:
            kept: The folder of the plans. Its plans outlive a refusal. Once the rollout has begun, all are removed.

        Raises:
            RefusedError: A plan would lose data, or was not approved.
        """
        results = [item.result for item in planned]
        if not all(result.ok for result in results):
            discard(planned)
            return [_not_applied(result) for result in results]
        try:
            self._check_plans(results, approve)
        except BaseException:
            if kept is None:
                discard(planned)
            raise
        if release is not None:
            # The answer can have taken hours, in which another run may have tidied up.
            self.store.keep(release)
        changed = any(result.outcome in (UnitOutcome.PLANNED, UnitOutcome.WAITING) for result in results)

        async def work(deployment: Deployment) -> list[UnitResult]:
            waves = Rollout(deployment, planner, rollout or RolloutPlan(), gate if changed else None)
            if release is None or not isinstance(planner, ProductionPlanner):
                return await waves.run(planned)
            staged = StagedRollout(
                deployment, planner, waves, release, environment=self.environment, approved=kept is not None
            )
            return await staged.run(planned)

        try:
            return self.recorded([item.unit for item in results], lambda: self.run(work), release)
        finally:
            discard(planned)
            if kept is not None:
                for item in planned:
                    kept.remove(item.stack)

    def _check_plans(self, results: Sequence[UnitResult], approve: Approve) -> None:
        """Show what the plans have found, check them against the data-loss policy, and ask if they change anything."""
        for line in note_lines(results):
            self.say(line)
        if not self.allow_data_loss:
            policy.require(results)
        if any(result.changes or result.outcome is UnitOutcome.WAITING for result in results):
            require_approval(approve, results)

    def recorded(
        self, units: Sequence[str], work: Callable[[], list[UnitResult]], release: Release | None = None
    ) -> list[UnitResult]:
        """Do work that changes units, and keep in the history who did it and how it ended."""
        history = History(self.workspace, self.environment)
        record = history.start(
            self.command,
            units,
            message=self.message,
            revision=release.revision if release else None,
            commit=release.commit if release else None,
        )
        started = time.monotonic()
        try:
            results = work()
        except BaseException as error:
            with suppress(MjctlError):
                # Show the error that ended the work, not that the history could not be written as well.
                history.finish(record, [], _code_of(error), time.monotonic() - started)
            raise
        history.finish(record, results, exit_code(results), time.monotonic() - started)
        return results

    def run(self, work: Callable[[Deployment], Coroutine[Any, Any, _T]]) -> _T:
        """Run one stretch of work in an event loop of its own, with a reporter, until it ends or is stopped."""

        async def main() -> _T:
            cancellation = Cancellation()
            with self.stop.attached(cancellation), self.reporting(cancellation) as reporter:
                return await work(
                    Deployment(
                        self.store,
                        Runner(self.engine, cancellation),
                        reporter,
                        concurrency=self.environment.concurrency,
                        allow_data_loss=self.allow_data_loss,
                    )
                )

        return asyncio.run(main())


def require_approval(approve: Approve, results: Sequence[UnitResult]) -> None:
    """Raises: RefusedError: The changes are not approved."""
    if not approve(results):
        raise not_approved()


def not_approved() -> RefusedError:
    """Return the error for an answer other than yes."""
    return RefusedError("the changes were not approved; nothing was changed")


def _not_applied(result: UnitResult) -> UnitResult:
    """Return the result of a unit with a good plan that is not applied, because another unit has none."""
    if result.outcome not in (UnitOutcome.PLANNED, UnitOutcome.WAITING):
        return result
    return replace(result, outcome=UnitOutcome.NOT_STARTED, add=0, change=0, remove=0, revision=None, waits_for=())


def _code_of(error: BaseException) -> ExitCode:
    if isinstance(error, MjctlError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.INTERNAL
