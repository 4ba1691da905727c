"""Applying plans wave by wave: each wave must be well before the next one begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
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
    """`parallel`: all regions at once. `sequential`: one after another. `canary`: one, then all the others at once."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"
    CANARY = "canary"


@dataclass(frozen=True)
class RolloutPlan:
    """How regions follow each other. `canary`: the first region's name; None: the first of those given."""

    strategy: Strategy = Strategy.PARALLEL
    canary: str | None = None
    rollback: bool = False

    def waves(self, regions: Sequence[str]) -> list[list[str]]:
        """The regions in the order in which they are changed; those of one wave at the same time."""
        if self.strategy is Strategy.PARALLEL:
            return [list(regions)]
        if self.strategy is Strategy.SEQUENTIAL:
            return [[region] for region in regions]
        first = self.canary if self.canary is not None and self.canary in regions else regions[0]
        rest = [region for region in regions if region != first]
        return [[first], rest] if rest else [[first]]


class Rollout:
    """Executes plans by waves. Without a gate a wave is well when Terraform says so."""

    def __init__(self, deployment: Deployment, planner: Planner, plan: RolloutPlan, gate: Gate | None) -> None:
        self._deployment = deployment
        self._planner = planner
        self._plan = plan
        self._gate = gate

    async def run(self, planned: Sequence[PlannedUnit], *, unserved: Collection[str] = ()) -> list[UnitResult]:
        """Apply `planned` wave by wave, see `in_stages`.

        Args:
            unserved: Regions that no player can reach yet. The gate cannot check them: it checks as a player does.
        """
        waves = self._plan.waves([item.unit for item in planned])
        results = await in_stages(self._deployment, waves, planned, lambda wave: self._wave(wave, unserved))
        await self._deployment.remove_old_code(results)
        return results

    async def _wave(self, planned: Sequence[PlannedUnit], unserved: Collection[str]) -> list[UnitResult]:
        applied = await self._deployment.apply(planned)
        return list(await asyncio.gather(*(self._check(result, result.unit not in unserved) for result in applied)))

    async def _check(self, result: UnitResult, visible: bool) -> UnitResult:
        """Check one region and roll it back if that is wanted. A fault here must not reach other regions."""
        try:
            return await self._check_and_restore(result, visible)
        except Exception as error:
            fault = as_error(error, self._planner.stack(result.unit))
            return self._deployment.finish(
                replace(result, outcome=UnitOutcome.FAILED, error=_both(result.error, fault) if result.error else fault)
            )

    async def _check_and_restore(self, result: UnitResult, visible: bool) -> UnitResult:
        if result.ok and self._gate is not None and not visible:
            self._deployment.reporter.note(result.unit, "is not watched yet: no player reaches it before the edge")
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
        """Bring the region back to its last good revision; `result` keeps what went wrong with the refused one."""
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
        """What is wrong although the good revision is back; None when all is well, or there is no gate to tell."""
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
            f"{revision} is back, and the region is still {verdict}",
            where=f"region {result.unit}",
            hint="the cause is not the code: `mjctl health` shows every check",
        )


async def restore(deployment: Deployment, states: Sequence[DesiredState]) -> list[UnitResult]:
    """Plan and apply in one go: nobody is asked between, a bad revision is running."""
    planned = await deployment.plan(states)
    try:
        # Where the plan could not be made, `apply` changes nothing and returns the plan's error.
        return await deployment.apply(planned)
    finally:
        discard(planned)


def _both(first: MjctlError | None, second: MjctlError | None) -> MjctlError:
    """The error of a rollback that failed, with what made it necessary in front."""
    if second is None:
        raise ValueError("a rollback that failed has an error")
    before = f"{first.what}\n" if first else ""
    kind = type(first) if first else type(second)
    return kind(f"{before}the rollback did not help: {second.what}", where=second.where, hint=second.hint)
