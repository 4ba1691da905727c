"""Units whose input another unit publishes: planned as far as that is known, applied one stage after another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from mjctl.deploy.executor import Deployment, PlannedUnit, discard
from mjctl.deploy.faults import as_error
from mjctl.deploy.planner.desired_state import DesiredState, Planner
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.deploy.rollout import Rollout
from mjctl.deploy.stages import in_stages, not_started
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError, MjctlError
from mjctl.models.release import Release


async def plan_known(
    deployment: Deployment,
    planner: Planner,
    units: Sequence[str],
    release: Release,
    *,
    folder: PlanFolder | None = None,
) -> list[PlannedUnit]:
    """Plan every unit that can be planned now; the others are `waiting`.

    Raises:
        ConflictError: plans are to be kept in `folder`, and some cannot be made yet.
    """
    waits = {unit: await asyncio.to_thread(planner.waits_for, unit, units) for unit in units}
    waiting = [unit for unit, needed in waits.items() if needed]
    if folder is not None and waiting:
        raise ConflictError(
            f"no plan can be kept of {', '.join(waiting)} yet: what {' and '.join(waits[waiting[-1]])} will publish "
            "is not known before it is applied",
            where=str(folder.path),
            hint="deploy once without kept plans: `mjctl deploy --all-regions` shows each stage as it plans it",
        )
    ready = [await asyncio.to_thread(planner.for_release, unit, release) for unit in units if not waits[unit]]
    made = {one.stack.unit: one for one in await deployment.plan(ready, folder=folder)}
    return [made.get(unit) or _waiting(deployment, planner, unit, waits[unit]) for unit in units]


def stages(units: Sequence[str], *, first: str | None = None) -> list[list[str]]:
    """Foundation, then the region `first` alone if it is among `units`, then the other regions together, then edge."""
    regions = [unit for unit in units if unit not in (FOUNDATION, EDGE)]
    order = [
        [FOUNDATION],
        [unit for unit in regions if unit == first],
        [unit for unit in regions if unit != first],
        [EDGE],
    ]
    return [found for stage in order if (found := [unit for unit in stage if unit in units])]


class StagedRollout:
    """Applies a production environment. `approved`: only the plans given are applied, none is made anew."""

    def __init__(
        self,
        deployment: Deployment,
        planner: ProductionPlanner,
        rollout: Rollout,
        release: Release,
        *,
        environment: Environment,
        approved: bool = False,
    ) -> None:
        self._deployment = deployment
        self._planner = planner
        self._rollout = rollout
        self._release = release
        self._environment = environment
        self._primary = environment.primary_region
        self._approved = approved

    async def run(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply stage by stage, see `in_stages`.

        A plan is made again if its input has changed because an earlier stage published something else.
        """
        new = not await asyncio.to_thread(self._planner.is_deployed, self._primary)
        order = stages([item.unit for item in planned], first=self._primary if new else None)
        return await in_stages(self._deployment, order, planned, self._stage)

    async def _stage(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        ready = await self._brought_up_to_date(planned)
        if not all(one.result.ok for one in ready):
            discard(ready)
            return [not_started(self._deployment, one) if one.result.ok else one.result for one in ready]
        unit = ready[0].stack.unit
        if unit not in (FOUNDATION, EDGE):
            served = (await asyncio.to_thread(self._planner.published, EDGE)).get("contract", {}).get("regions", ())
            return await self._rollout.run(
                ready, unserved=[one.stack.unit for one in ready if one.stack.unit not in served]
            )
        applied = await self._deployment.apply(ready)
        return [await self._with_client(one) if unit == EDGE and one.ok else one for one in applied]

    async def _with_client(self, result: UnitResult) -> UnitResult:
        """Publish the web client of this release at the edge: it changes without the stack."""
        # It takes the game's HTTP server along, which no plan needs.
        from mjctl.deploy.releases.web_client import publish_at

        folder = self._deployment.store.web_dir(self._release)
        if folder is None:
            return result
        try:
            published = await asyncio.to_thread(publish_at, self._planner.stack(EDGE), self._environment, folder)
        except Exception as error:
            fault = as_error(error, self._planner.stack(EDGE))
            return self._deployment.finish(replace(result, outcome=UnitOutcome.FAILED, error=fault))
        if published is not None and (changed := len(published.uploaded) + len(published.removed)):
            self._deployment.reporter.note(EDGE, f"web client: {changed} files published")
        return result

    async def _brought_up_to_date(self, planned: Sequence[PlannedUnit]) -> list[PlannedUnit]:
        """The same units, each with a plan that fits what is published now."""
        current: dict[str, PlannedUnit] = {}
        stale: list[DesiredState] = []
        for one in planned:
            unit = one.stack.unit
            try:
                desired = await asyncio.to_thread(self._planner.for_release, unit, self._release)
            except Exception as error:
                current[unit] = self._failed(one, as_error(error, one.stack))
                continue
            if one.plan is not None and desired.variables == one.desired.variables:
                current[unit] = one
            elif self._approved:
                current[unit] = self._failed(one, _outdated(one))
            else:
                discard([one])
                stale.append(desired)
        for made in await self._deployment.plan(stale):
            current[made.stack.unit] = made
        return [current[one.stack.unit] for one in planned]

    def _failed(self, planned: PlannedUnit, error: MjctlError) -> PlannedUnit:
        discard([planned])
        result = replace(planned.result, outcome=UnitOutcome.FAILED, error=error)
        return replace(planned, plan=None, result=self._deployment.finish(result))


def _waiting(deployment: Deployment, planner: Planner, unit: str, needed: tuple[str, ...]) -> PlannedUnit:
    deployment.reporter.note(unit, f"is planned once {' and '.join(needed)} is applied")
    return PlannedUnit(
        DesiredState(planner.stack(unit), {}), None, UnitResult(unit, UnitOutcome.WAITING, waits_for=needed)
    )


def _outdated(planned: PlannedUnit) -> ConflictError:
    return ConflictError(
        "the approved plan does not fit any more: what an earlier stage publishes has changed with this deploy",
        where=planned.stack.where,
        hint="make and approve new plans: `mjctl plan --all-regions --out DIR`",
    )
