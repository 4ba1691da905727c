"""Runs one operation of a deploy session: locks units, asks for approval, runs Terraform, writes the history."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from mjctl import event_loop
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
"""Receives the planned changes and returns True to apply them. May raise a MjctlError with the reason for a refusal."""
Reporting = Callable[[Cancellation], AbstractContextManager[Reporter]]
"""Opens a reporter inside the event loop in which Terraform runs. Setting the cancellation stops Terraform."""


@contextmanager
def no_reporting(_: Cancellation) -> Iterator[Reporter]:
    """Open a reporter that ignores the progress of every unit."""
    yield NoReporter()


class StopSwitch:
    """Stops the current Terraform work and all later work of a session. Any thread may set the switch."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._set = False
        self._running: tuple[asyncio.AbstractEventLoop, Cancellation] | None = None

    def set(self) -> None:
        """Stop the session's current Terraform work and all later work."""
        with self._guard:
            self._set = True
            if self._running is not None:
                loop, cancellation = self._running
                loop.call_soon_threadsafe(cancellation.event.set)

    @contextmanager
    def attached(self, cancellation: Cancellation) -> Iterator[None]:
        """Let `set` cancel the work of the running event loop through `cancellation`."""
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
    """Runs one call of a DeploySession with its locks, event loop, approval and history.

    Attributes:
        command: The name of the command, e.g. `deploy`, for the locks and the history.
        workspace: The workspace of the session.
        environment: The environment of the session.
        store: The releases of the environment.
        message: The operator's reason for the run, or None if the operator gave no reason.
        lock_timeout_seconds: The time to wait for a unit that another run has locked.
        allow_data_loss: True to apply plans that violate the data-loss policy.
        say: Receives lines for the operator.
        reporting: Opens the reporter that receives the progress of each unit.
        stop: The switch of the session, which stops this operation.
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
        """Return the Terraform or OpenTofu program that runs the stacks."""
        return find_engine()

    def locked(self, stacks: Sequence[Stack]) -> AbstractContextManager[None]:
        """Lock the units of all `stacks`, or none of them.

        Raises:
            LockedError: Another run has locked one of the units, so no unit was changed.
        """
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
        """Ask for approval, apply the plans in waves, and record the run in the history.

        If a unit could not be planned, no unit is changed.

        Args:
            planner: Computes the desired state of a unit.
            planned: The units with their plans.
            approve: Receives the planned changes and returns True to apply them.
            rollout: The order of the units, and whether to roll back a failed unit; by default all units at once, no
                rollback.
            gate: Checks the health of each changed region, unless no plan has changes.
            release: The release that a deploy applies, or None for any other command.
            kept: The folder with the saved plans that are applied, or None if the plans are new. The saved plans stay
                in the folder until a rollout has used them.

        Returns:
            The result of each unit, in the order of `planned`.

        Raises:
            RefusedError: A plan would lose data, or the changes were not approved.
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
            # Copy the code of the release into the store again, because another run may have removed the code while the
            # operator decided about the plan.
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
        """Show the notes of the plans, refuse plans that lose data, and ask for approval if a plan has changes."""
        for line in note_lines(results):
            self.say(line)
        if not self.allow_data_loss:
            policy.require(results)
        if any(result.changes or result.outcome is UnitOutcome.WAITING for result in results):
            require_approval(approve, results)

    def recorded(
        self, units: Sequence[str], work: Callable[[], list[UnitResult]], release: Release | None = None
    ) -> list[UnitResult]:
        """Run `work`, which changes `units`, and record the run with its operator and its outcome in the history."""
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
                # If the history cannot be written, report the error that ended the work and not the error of the
                # history.
                history.finish(record, [], _code_of(error), time.monotonic() - started)
            raise
        history.finish(record, results, exit_code(results), time.monotonic() - started)
        return results

    def run(self, work: Callable[[Deployment], Coroutine[Any, Any, _T]]) -> _T:
        """Run `work` in a new event loop with a reporter, until the work ends or the session is stopped."""

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

        return event_loop.run(main())


def require_approval(approve: Approve, results: Sequence[UnitResult]) -> None:
    """Ask `approve` for approval of the planned changes.

    Raises:
        RefusedError: The changes are not approved.
    """
    if not approve(results):
        raise not_approved()


def not_approved() -> RefusedError:
    """Return the error for changes that the operator has not approved."""
    return RefusedError("the changes were not approved; nothing was changed")


def _not_applied(result: UnitResult) -> UnitResult:
    """Return the result NOT_STARTED for a unit whose plan is not applied because another unit could not be planned."""
    if result.outcome not in (UnitOutcome.PLANNED, UnitOutcome.WAITING):
        return result
    return replace(result, outcome=UnitOutcome.NOT_STARTED, add=0, change=0, remove=0, revision=None, waits_for=())


def _code_of(error: BaseException) -> ExitCode:
    if isinstance(error, MjctlError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.INTERNAL
