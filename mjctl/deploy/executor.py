"""Deploy, plan, drift and destroy over regions: init in series, then every region at its own pace.

Terraform's module and plugin installation is not safe side by side, plans and applies of different states are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mjctl.deploy import inputs
from mjctl.models.deployment import Change, Outcome, Phase, RegionResult
from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, Interrupted, MjctlError, NotFoundError
from mjctl.models.workspace import Workspace
from mjctl.terraform import operations
from mjctl.terraform.events import Event
from mjctl.terraform.lock import region_lock
from mjctl.terraform.operations import PlanResult
from mjctl.terraform.runner import Runner
from mjctl.terraform.stack import Stack

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Reporter(Protocol):
    """Where progress goes; a command's view implements it."""

    def phase(self, region: str, phase: Phase) -> None: ...

    def event(self, region: str, event: Event) -> None: ...

    def finished(self, result: RegionResult) -> None: ...


@dataclass(frozen=True)
class Planned:
    """A region whose plan lies ready. `result` is how it stands if nobody applies it."""

    stack: Stack
    variables: Mapping[str, Any]
    plan: PlanResult | None
    result: RegionResult


@contextmanager
def locked(stacks: Sequence[Stack], purpose: str, wait_seconds: float) -> Iterator[None]:
    """Hold every region or none.

    Raises:
        LockedError: one of them is being worked on; nothing was changed in any.
    """
    with ExitStack() as held:
        for stack in stacks:
            held.enter_context(region_lock(stack, purpose, wait_seconds=wait_seconds))
        yield


def discard(planned: Sequence[Planned]) -> None:
    """Remove saved plans that nobody will apply: they hold variables in clear."""
    for one in planned:
        if one.plan is not None:
            one.plan.saved.remove()


class Deployment:
    """One phase over some regions of one environment, whose locks the caller holds."""

    def __init__(
        self,
        workspace: Workspace,
        environment: Environment,
        runner: Runner,
        reporter: Reporter,
    ) -> None:
        if environment.target != "local":
            raise ConfigError(
                f"target `{environment.target}` cannot be deployed by this version of mjctl; `local` can",
                where=f"environment {environment.name}",
            )
        self._workspace = workspace
        self._environment = environment
        self._runner = runner
        self._reporter = reporter

    def stack(self, region: str) -> Stack:
        return Stack.of_region(self._workspace, self._environment, region)

    async def plan(self, regions: Sequence[str], *, destroy: bool = False) -> list[Planned]:
        """Plan each region as the environment's file wants it now."""
        return await self._plan(regions, self._wanted_variables, destroy=destroy)

    async def drift(self, regions: Sequence[str]) -> list[Planned]:
        """Plan each region as it was last applied: what the plan wants to change has drifted in the world."""
        return await self._plan(regions, self._applied_variables)

    async def apply(self, planned: Sequence[Planned]) -> list[RegionResult]:
        """Apply plans made by `plan`. A region that fails does not stop the others."""
        return await self._each(planned, self._apply)

    async def destroy(self, planned: Sequence[Planned]) -> list[RegionResult]:
        """Apply plans made by `plan(destroy=True)` and remove what is left on this machine."""
        return await self._each(planned, self._destroy)

    async def _plan(
        self, regions: Sequence[str], variables: Callable[[Stack], dict[str, Any]], *, destroy: bool = False
    ) -> list[Planned]:
        stacks = [self.stack(region) for region in regions]
        given = {stack.region: variables(stack) for stack in stacks}
        for stack in stacks:
            self._reporter.phase(stack.region, Phase.INIT)
            await operations.init(self._runner, stack)
        return await self._each(stacks, lambda stack: self._plan_one(stack, given[stack.region], destroy))

    async def _plan_one(self, stack: Stack, variables: dict[str, Any], destroy: bool) -> Planned:
        self._reporter.phase(stack.region, Phase.PLAN)
        started = time.monotonic()
        try:
            plan = await operations.plan(
                self._runner, stack, variables, lambda event: self._reporter.event(stack.region, event), destroy=destroy
            )
        except MjctlError as error:
            return Planned(stack, variables, None, self._finish(_failed(stack.region, error, started)))
        summary = plan.summary
        result = RegionResult(
            stack.region,
            Outcome.PLANNED if plan.pending else Outcome.UNCHANGED,
            summary.add,
            summary.change,
            summary.remove,
            tuple(Change(found.address, found.action, found.reason) for found in plan.changes),
            time.monotonic() - started,
        )
        if not plan.pending:
            plan.saved.remove()
            self._finish(result)
        return Planned(stack, variables, plan, result)

    async def _apply(self, planned: Planned) -> RegionResult:
        stack, plan = planned.stack, planned.plan
        if plan is None or not plan.pending:
            return planned.result
        self._reporter.phase(stack.region, Phase.APPLY)
        started = time.monotonic()
        try:
            summary = await operations.apply(
                self._runner, stack, plan.saved, lambda event: self._reporter.event(stack.region, event)
            )
            inputs.remember(stack, planned.variables)
        except MjctlError as error:
            return self._finish(_failed(stack.region, error, started, planned.result.seconds))
        seconds = planned.result.seconds + time.monotonic() - started
        return self._finish(
            RegionResult(
                stack.region,
                Outcome.APPLIED,
                summary.add,
                summary.change,
                summary.remove,
                planned.result.changes,
                seconds,
            )
        )

    async def _destroy(self, planned: Planned) -> RegionResult:
        stack, plan = planned.stack, planned.plan
        self._reporter.phase(stack.region, Phase.DESTROY)
        started = time.monotonic()
        removed = 0
        try:
            if plan is not None and plan.pending:
                summary = await operations.apply(
                    self._runner, stack, plan.saved, lambda event: self._reporter.event(stack.region, event)
                )
                removed = summary.remove
            await asyncio.to_thread(inputs.remove_remains, stack)
        except MjctlError as error:
            return self._finish(_failed(stack.region, error, started, planned.result.seconds))
        return self._finish(
            RegionResult(
                stack.region,
                Outcome.DESTROYED if removed else Outcome.UNCHANGED,
                remove=removed,
                changes=planned.result.changes,
                seconds=planned.result.seconds + time.monotonic() - started,
            )
        )

    async def _each(self, items: Sequence[_Item], work: Callable[[_Item], Awaitable[_Result]]) -> list[_Result]:
        limit = asyncio.Semaphore(self._environment.concurrency)

        async def limited(item: _Item) -> _Result:
            async with limit:
                return await work(item)

        return await asyncio.gather(*(limited(item) for item in items))

    def _wanted_variables(self, stack: Stack) -> dict[str, Any]:
        return inputs.local_variables(self._workspace, self._environment, stack)

    def _applied_variables(self, stack: Stack) -> dict[str, Any]:
        if not stack.applied_variables_file.is_file():
            raise NotFoundError(
                "nothing to compare with: this region was never wholly deployed",
                where=stack.where,
                hint=f"`mjctl deploy --env {stack.environment} --region {stack.region}`",
            )
        applied: dict[str, Any] = json.loads(stack.applied_variables_file.read_text(encoding="utf-8"))
        return {**applied, "epochs": inputs.epochs(stack, list(applied["epochs"]))}

    def _finish(self, result: RegionResult) -> RegionResult:
        self._reporter.finished(result)
        return result


def _failed(region: str, error: MjctlError, started: float, before: float = 0.0) -> RegionResult:
    outcome = Outcome.INTERRUPTED if isinstance(error, Interrupted) else Outcome.FAILED
    return RegionResult(region, outcome, seconds=before + time.monotonic() - started, error=error)
