"""Applies the plans of regions wave by wave. Every region of a wave must be healthy before the next wave starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mjctl.deploy.executor import Deployment, PlannedUnit, discard
from mjctl.deploy.faults import as_error
from mjctl.deploy.gate import Gate
from mjctl.deploy.planner.desired_state import DesiredState, Planner
from mjctl.deploy.releases.store import UnitReleases
from mjctl.deploy.stages import in_stages
from mjctl.models.deployment import Phase, UnitOutcome, UnitResult
from mjctl.models.errors import MjctlError, VerificationError


class Strategy(StrEnum):
    """Names the order in which a rollout changes the regions."""

    PARALLEL = "parallel"
    """Change all regions at once."""
    SEQUENTIAL = "sequential"
    """Change one region after another."""
    CANARY = "canary"
    """Change one region first, then all other regions at once."""


@dataclass(frozen=True)
class RolloutPlan:
    """Describes the order of the regions in a rollout.

    Attributes:
        strategy: The order of the regions: all at once, one after another, or one region first.
        canary: The region that the strategy `canary` changes first, or None for the first region of the rollout.
        rollback: True to roll a region back automatically if its apply fails or the gate finds it unhealthy.
    """

    strategy: Strategy = Strategy.PARALLEL
    canary: str | None = None
    rollback: bool = False

    def waves(self, regions: Sequence[str]) -> list[list[str]]:
        """Split `regions` into waves, in the order of the rollout.

        The regions of a wave are changed at the same time.
        """
        if self.strategy is Strategy.PARALLEL:
            return [list(regions)]
        if self.strategy is Strategy.SEQUENTIAL:
            return [[region] for region in regions]
        first = self.canary if self.canary is not None and self.canary in regions else regions[0]
        rest = [region for region in regions if region != first]
        return [[first], rest] if rest else [[first]]


AfterApply = Callable[[PlannedUnit], Awaitable[None]]
"""Works on a unit after its apply. Raises an exception if the unit must count as failed."""


class Rollout:
    """Applies the plans of regions wave by wave. Without a gate, a region is healthy if Terraform reports success."""

    def __init__(self, deployment: Deployment, planner: Planner, plan: RolloutPlan, gate: Gate | None) -> None:
        self._deployment = deployment
        self._planner = planner
        self._plan = plan
        self._gate = gate
        self._after_apply: AfterApply | None = None

    async def run(
        self,
        planned: Sequence[PlannedUnit],
        *,
        unserved: Collection[str] = (),
        after_apply: AfterApply | None = None,
    ) -> list[UnitResult]:
        """Apply `planned` wave by wave. After a wave in which a region fails, no further region is changed.

        Args:
            planned: The units with their plans.
            unserved: The regions that no player can reach yet, which the gate skips because some health checks log in
                and play as a player does.
            after_apply: Work on each applied unit before the gate; an error of the work is a failure of the unit.

        Returns:
            The results of the units, in the order of `planned`.
        """
        self._after_apply = after_apply
        waves = self._plan.waves([item.unit for item in planned])
        results = await in_stages(self._deployment, waves, planned, lambda wave: self._wave(wave, unserved))
        await self._deployment.remove_old_code(results)
        return results

    async def _wave(self, planned: Sequence[PlannedUnit], unserved: Collection[str]) -> list[UnitResult]:
        applied = await self._deployment.apply(planned)
        finished = await asyncio.gather(
            *(self._finished(item, result) for item, result in zip(planned, applied, strict=True))
        )
        return list(await asyncio.gather(*(self._check(result, result.unit not in unserved) for result in finished)))

    async def _finished(self, planned: PlannedUnit, result: UnitResult) -> UnitResult:
        """Do the work that the caller of `run` has given for after the apply."""
        if self._after_apply is None or not result.ok:
            return result
        try:
            await self._after_apply(planned)
        except Exception as error:
            fault = as_error(error, planned.stack)
            return self._deployment.finish(
                replace(result, outcome=UnitOutcome.FAILED, refused=result.revision, error=fault)
            )
        return result

    async def _check(self, result: UnitResult, visible: bool) -> UnitResult:
        """Check one region with the gate, and roll an unhealthy region back if the rollout plan requires it.

        An exception in the work on the region becomes the region's result, and the work on other regions continues.
        """
        try:
            return await self._check_and_restore(result, visible)
        except Exception as error:
            fault = as_error(error, self._planner.stack(result.unit))
            return self._deployment.finish(
                replace(result, outcome=UnitOutcome.FAILED, error=_both(result.error, fault) if result.error else fault)
            )

    async def _check_and_restore(self, result: UnitResult, visible: bool) -> UnitResult:
        if result.ok and self._gate is not None and not visible:
            self._deployment.reporter.note(
                result.unit, "the health gate skips this region: no player can reach it before `edge` is deployed"
            )
        elif result.ok and self._gate is not None:
            result = await self._through_gate(result, self._gate)
        if self._plan.rollback and result.outcome in (UnitOutcome.FAILED, UnitOutcome.UNHEALTHY):
            return await self._roll_back(result)
        return result

    async def _through_gate(self, result: UnitResult, gate: Gate) -> UnitResult:
        reporter = self._deployment.reporter
        reporter.phase(result.unit, Phase.GATE)
        started = time.monotonic()
        try:
            verdict = await gate.watch(
                result.unit, lambda text: reporter.note(result.unit, text), self._deployment.cancellation
            )
        except MjctlError as error:
            outcome = UnitOutcome.INTERRUPTED if self._deployment.cancellation.requested else UnitOutcome.FAILED
            return self._deployment.finish(replace(result, outcome=outcome, error=error))
        UnitReleases(self._planner.stack(result.unit)).record_verdict(verdict.healthy)
        result = replace(result, verdict=verdict, seconds=result.seconds + time.monotonic() - started)
        if not verdict.healthy:
            result = replace(result, outcome=UnitOutcome.UNHEALTHY)
        return self._deployment.finish(result)

    async def _roll_back(self, result: UnitResult) -> UnitResult:
        """Roll the region back to its newest other revision that the gate has not found unhealthy.

        Returns:
            The given `result`, with the outcome ROLLED_BACK if the region is healthy again. The error of the failed
            revision stays in the result.
        """
        refused = result.refused or result.revision
        self._deployment.reporter.phase(result.unit, Phase.ROLLBACK)
        try:
            entry = UnitReleases(self._planner.stack(result.unit)).last_good(other_than=refused)
            self._deployment.reporter.note(result.unit, f"rolling back from {refused} to {entry.revision}")
            back = (await restore(self._deployment, [self._planner.for_rollback(result.unit, entry)]))[0]
        except MjctlError as error:
            return self._deployment.finish(replace(result, refused=refused, error=_both(result.error, error)))
        if not back.ok:
            return self._deployment.finish(
                replace(result, refused=refused, revision=None, error=_both(result.error, back.error))
            )
        result = replace(result, revision=entry.revision, refused=refused, seconds=result.seconds + back.seconds)
        still_bad = await self._still_unhealthy(result, entry.revision)
        if still_bad is not None:
            return self._deployment.finish(
                replace(result, outcome=UnitOutcome.UNHEALTHY, error=_both(result.error, still_bad))
            )
        return self._deployment.finish(replace(result, outcome=UnitOutcome.ROLLED_BACK))

    async def _still_unhealthy(self, result: UnitResult, revision: str) -> MjctlError | None:
        """Check with the gate whether the region is healthy after a rollback to `revision`.

        Returns:
            The error if the region is still unhealthy, or None if the region is healthy or the rollout has no gate.
        """
        if self._gate is None:
            return None
        reporter = self._deployment.reporter
        reporter.phase(result.unit, Phase.GATE)
        gate = replace(self._gate, soak_seconds=0.0)
        try:
            verdict = await gate.watch(
                result.unit, lambda text: reporter.note(result.unit, text), self._deployment.cancellation
            )
        except MjctlError as error:
            return error
        if verdict.healthy:
            return None
        return VerificationError(
            f"the region was rolled back to {revision} and is still {verdict}",
            where=f"region {result.unit}",
            hint="the new code is not the only cause of the failed checks; "
            f"`mjctl health --env {self._planner.stack(result.unit).environment} --region {result.unit}` shows every "
            "check",
        )


async def restore(deployment: Deployment, states: Sequence[DesiredState]) -> list[UnitResult]:
    """Plan and apply a rollback without approval, because players use the failed revision until the rollback ends."""
    planned = await deployment.plan(states)
    try:
        # For a unit that could not be planned, `apply` changes nothing and returns the error of the plan.
        return await deployment.apply(planned)
    finally:
        discard(planned)


def _both(first: MjctlError | None, second: MjctlError | None) -> MjctlError:
    """Return one error for a failure of a region and for the rollback that did not cure the failure.

    Args:
        first: The failure that made the rollback necessary, or None if the gate found the region unhealthy.
        second: The error of the rollback, or the reason why the region is still unhealthy after the rollback.
    """
    if second is None:
        raise ValueError("a failed rollback must have an error")
    before = f"{first.what}\n" if first else ""
    kind = type(first) if first else type(second)
    return kind(f"{before}the rollback did not help: {second.what}", where=second.where, hint=second.hint)
