"""Plans, applies and destroys units.

`terraform init` runs for one unit after another, because two installations of modules and plugins at the same time are
not safe. Several units can be planned or applied at the same time, because each unit has its own state.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from mjctl.deploy.ecs_rollout import verify_ecs_rollout
from mjctl.deploy.faults import as_error
from mjctl.deploy.observation import ended_drains
from mjctl.deploy.planner import inputs, policy
from mjctl.deploy.planner.desired_state import DesiredState
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.deploy.releases.store import ReleaseStore, UnitReleases
from mjctl.models.deployment import Phase, UnitOutcome, UnitResult
from mjctl.models.errors import Interrupted
from mjctl.terraform import operations
from mjctl.terraform.details import adds_to_outputs, planned_changes, with_details
from mjctl.terraform.events import ChangeSummary, Event
from mjctl.terraform.lock import OnWait, unit_lock
from mjctl.terraform.operations import PlanResult
from mjctl.terraform.plan_file import Binding, SavedPlan
from mjctl.terraform.runner import Cancellation, Runner
from mjctl.terraform.stack import Stack

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Reporter(Protocol):
    """Receives the progress of every unit. The views of the command line and `NoReporter` implement this protocol."""

    def phase(self, unit: str, phase: Phase) -> None: ...

    def event(self, unit: str, event: Event) -> None: ...

    def note(self, unit: str, text: str) -> None: ...

    def finished(self, result: UnitResult) -> None: ...


class NoReporter:
    """Ignores the progress of every unit."""

    def phase(self, unit: str, phase: Phase) -> None:
        """Ignore that `unit` enters a phase."""

    def event(self, unit: str, event: Event) -> None:
        """Ignore an event of Terraform for `unit`."""

    def note(self, unit: str, text: str) -> None:
        """Ignore a note on `unit` for the operator."""

    def finished(self, result: UnitResult) -> None:
        """Ignore the result of a unit."""


@dataclass(frozen=True)
class PlannedUnit:
    """Holds a unit with its plan.

    Attributes:
        desired: The Terraform code and the variables that the unit shall have.
        plan: The plan, or None if Terraform could not plan the unit.
        result: The result of the unit that is reported if the plan is not applied.
    """

    desired: DesiredState
    plan: PlanResult | None
    result: UnitResult

    @property
    def stack(self) -> Stack:
        """Return the Terraform stack of the unit."""
        return self.desired.stack

    @property
    def unit(self) -> str:
        """Return the name of the unit: a region, `foundation` or `edge`."""
        return self.desired.unit


@contextmanager
def locked(
    stacks: Sequence[Stack],
    purpose: str,
    *,
    message: str | None = None,
    wait_seconds: float = 0,
    on_wait: OnWait | None = None,
) -> Iterator[None]:
    """Lock the units of all `stacks`, or none of them.

    Args:
        purpose: The command that needs the locks, which other runs show while they wait for a lock.
        message: The operator's reason for the run, which other runs show while they wait for a lock.
        wait_seconds: The time to wait for a unit that another run has locked.
        on_wait: Receives a line about the run that holds a lock, when this run starts to wait for the lock.

    Raises:
        LockedError: Another run has locked one of the units, so no unit was changed.
    """
    with ExitStack() as held:
        for stack in stacks:
            held.enter_context(unit_lock(stack, purpose, message=message, wait_seconds=wait_seconds, on_wait=on_wait))
        yield


def discard(planned: Sequence[PlannedUnit]) -> None:
    """Remove plan files that will not be applied, because they contain variables in clear text."""
    for item in planned:
        if item.plan is not None:
            item.plan.saved.remove()


class Deployment:
    """Plans, applies and destroys units of one environment. The caller must hold the locks of the units.

    Attributes:
        store: The releases of the environment.
        runner: Runs Terraform processes until the operator stops the deployment.
    """

    def __init__(
        self,
        store: ReleaseStore,
        runner: Runner,
        reporter: Reporter,
        *,
        concurrency: int,
        allow_data_loss: bool = False,
    ) -> None:
        """Prepare a deployment.

        Args:
            store: The releases of the environment.
            runner: Runs Terraform processes.
            reporter: Receives the progress of each unit.
            concurrency: The number of units that are planned or applied at the same time.
            allow_data_loss: True to apply plans that violate the data-loss policy.
        """
        self.store = store
        self.runner = runner
        self._reporter = reporter
        self._concurrency = concurrency
        self._allow_data_loss = allow_data_loss

    @property
    def reporter(self) -> Reporter:
        """Return the reporter that receives the progress of each unit."""
        return self._reporter

    @property
    def cancellation(self) -> Cancellation:
        """Return the cancellation that stops this deployment."""
        return self.runner.cancellation

    async def plan(
        self,
        states: Sequence[DesiredState],
        *,
        destroy: bool = False,
        folder: PlanFolder | None = None,
    ) -> list[PlannedUnit]:
        """Plan the change of each unit to its desired state.

        Args:
            destroy: True to plan the destroy of the units.
            folder: The folder that keeps the plan files for a later run, or None for temporary plan files.
        """
        await self._init(states)
        return await self._each(states, lambda desired: self._plan_unit(desired, destroy, folder))

    async def load_saved(self, states: Sequence[DesiredState], folder: PlanFolder) -> list[PlannedUnit]:
        """Return the plans in `folder` after a check of each plan against the desired state of its unit.

        Raises:
            NotFoundError: `folder` has no plan of one of the units.
            ConflictError: A saved plan does not fit the desired state of its unit, so no plan of any unit is returned.
        """
        await self._init(states)
        saved = [
            folder.load_saved(desired.stack, Binding(revision=desired.revision or ""), desired.variables)
            for desired in states
        ]
        return [await self._load_unit(desired, plan) for desired, plan in zip(states, saved, strict=True)]

    async def apply(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply all plans that `plan` or `load_saved` returned, even if the apply of one unit fails."""
        return await self._each(planned, self._apply)

    async def destroy(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply the plans that `plan(destroy=True)` returned, and remove the units' remaining files on this machine."""
        results = await self._each(planned, self._destroy)
        await self.remove_old_code(results)
        return results

    async def remove_old_code(self, results: Sequence[UnitResult]) -> None:
        """Remove the code of releases that no unit lists in its `releases.json`.

        If the code cannot be removed, the reporter receives a note and no error is raised, because an error would hide
        the results of the units.
        """
        try:
            await asyncio.to_thread(self.store.prune)
        except Exception as error:
            for result in results[:1]:
                self._reporter.note(result.unit, f"the code of old releases was not removed: {error}")

    def finish(self, result: UnitResult) -> UnitResult:
        """Report the result of a unit to the reporter, and return that result."""
        self._reporter.finished(result)
        return result

    async def _init(self, states: Sequence[DesiredState]) -> None:
        for desired in states:
            self._reporter.phase(desired.unit, Phase.INIT)
            await operations.init(self.runner, desired.stack)

    async def _plan_unit(self, desired: DesiredState, destroy: bool, folder: PlanFolder | None) -> PlannedUnit:
        stack = desired.stack
        self._reporter.phase(stack.unit, Phase.PLAN)
        started = time.monotonic()
        saved = folder.saved(stack, Binding(revision=desired.revision or "")) if folder else None
        try:
            plan = await operations.plan(
                self.runner,
                stack,
                desired.variables,
                lambda event: self._reporter.event(stack.unit, event),
                destroy=destroy,
                saved=saved,
            )
            if plan.pending and not destroy:
                shown = await operations.show(self.runner, stack, plan.saved)
                plan = replace(plan, changes=with_details(plan.changes, shown), adds_to_outputs=adds_to_outputs(shown))
            if folder is not None:
                folder.keep_variables(stack, desired.variables)
            result = _planned_result(desired, plan, time.monotonic() - started)
        except Exception as error:
            # Remove the plan file, which Terraform may have written already, because a plan file contains secrets.
            (saved or operations.own_plan(stack)).remove()
            return PlannedUnit(desired, None, self.finish(_failed(stack, error, started)))
        if destroy:
            # A destroy deletes all data on purpose, so remove the violations of the data-loss policy from the result.
            result = replace(result, violations=(), notes=())
        if not plan.pending:
            self.finish(result)
            if folder is None:
                plan.saved.remove()
        return PlannedUnit(desired, plan, result)

    async def _load_unit(self, desired: DesiredState, saved: SavedPlan) -> PlannedUnit:
        """Read the planned changes from a saved plan."""
        shown = await operations.show(self.runner, desired.stack, saved)
        changes = planned_changes(shown)
        counts = Counter(change.action for change in changes)
        replaced = counts["replace"]
        plan = PlanResult(
            tuple(changes),
            ChangeSummary(counts["create"] + replaced, counts["update"], counts["delete"] + replaced, "plan"),
            saved,
            pending=bool(shown["applyable"]),
        )
        return PlannedUnit(desired, plan, _planned_result(desired, plan, 0.0))

    async def _apply(self, planned: PlannedUnit) -> UnitResult:
        desired, plan = planned.desired, planned.plan
        stack = desired.stack
        if plan is None:
            # A unit without a plan is not applied, so do not record a release for the unit.
            return planned.result
        started = time.monotonic()
        try:
            if not plan.pending:
                # Record the new release as applied even if its plan changes no resource.
                self._remember(desired)
                return planned.result
            self._reporter.phase(stack.unit, Phase.APPLY)
            if not self._allow_data_loss:
                policy.require([planned.result])
            if desired.release is not None:
                await asyncio.to_thread(self.store.share, desired.release)
                UnitReleases(stack).mark_started(desired.release)
            summary = await operations.apply(
                self.runner, stack, plan.saved, lambda event: self._reporter.event(stack.unit, event)
            )
            await asyncio.to_thread(verify_ecs_rollout, stack)
            self._remember(desired)
        except Exception as error:
            failed = _failed(stack, error, started, planned.result.seconds)
            # If the operator has interrupted the deploy, do not report the revision as failed.
            refused = None if failed.outcome is UnitOutcome.INTERRUPTED else desired.revision
            return self.finish(replace(failed, refused=refused))
        return self.finish(
            replace(
                planned.result,
                outcome=UnitOutcome.APPLIED,
                add=summary.add,
                change=summary.change,
                remove=summary.remove,
                seconds=planned.result.seconds + time.monotonic() - started,
            )
        )

    def _remember(self, desired: DesiredState) -> None:
        inputs.remember(desired.stack, desired.variables)
        if desired.release is not None and desired.stack.exists():
            UnitReleases(desired.stack).record_applied(desired.release, desired.variables)

    async def _destroy(self, planned: PlannedUnit) -> UnitResult:
        stack, plan = planned.stack, planned.plan
        if plan is None and not planned.result.ok:
            return planned.result
        self._reporter.phase(stack.unit, Phase.DESTROY)
        started = time.monotonic()
        removed = 0
        try:
            if plan is not None and plan.pending:
                summary = await operations.apply(
                    self.runner, stack, plan.saved, lambda event: self._reporter.event(stack.unit, event)
                )
                removed = summary.remove
            await asyncio.to_thread(inputs.remove_remains, stack)
            UnitReleases(stack).forget()
        except Exception as error:
            return self.finish(_failed(stack, error, started, planned.result.seconds))
        return self.finish(
            UnitResult(
                stack.unit,
                UnitOutcome.DESTROYED if removed else UnitOutcome.UNCHANGED,
                remove=removed,
                changes=planned.result.changes,
                seconds=planned.result.seconds + time.monotonic() - started,
            )
        )

    async def _each(self, items: Sequence[_Item], work: Callable[[_Item], Awaitable[_Result]]) -> list[_Result]:
        limit = asyncio.Semaphore(self._concurrency)

        async def limited(item: _Item) -> _Result:
            async with limit:
                return await work(item)

        return await asyncio.gather(*(limited(item) for item in items))


def _planned_result(desired: DesiredState, plan: PlanResult, seconds: float) -> UnitResult:
    return UnitResult(
        desired.unit,
        UnitOutcome.PLANNED if plan.pending else UnitOutcome.UNCHANGED,
        plan.summary.add,
        plan.summary.change,
        plan.summary.remove,
        plan.changes,
        seconds,
        revision=desired.revision,
        violations=policy.violations(plan.changes),
        notes=(*desired.notes, *ended_drains(desired.stack, plan.changes)),
    )


def _failed(stack: Stack, cause: Exception, started: float, before: float = 0.0) -> UnitResult:
    error = as_error(cause, stack)
    outcome = UnitOutcome.INTERRUPTED if isinstance(error, Interrupted) else UnitOutcome.FAILED
    return UnitResult(stack.unit, outcome, seconds=before + time.monotonic() - started, error=error)
