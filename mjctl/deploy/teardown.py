"""Taking a production environment down, or one region out of it: players first, then the regions, the primary last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mjctl.deploy.executor import Deployment, PlannedUnit
from mjctl.deploy.planner.desired_state import DesiredState
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.stages import in_stages
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError, NotFoundError
from mjctl.models.release import Release


class Teardown(Protocol):
    """A destroy: planned, shown, then run. `going`: the units of which nothing is left."""

    @property
    def going(self) -> tuple[str, ...]: ...

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]: ...

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]: ...


@dataclass(frozen=True)
class LocalTeardown:
    """Local regions, all at once: none needs another."""

    states: Sequence[DesiredState]

    @property
    def going(self) -> tuple[str, ...]:
        return tuple(desired.unit for desired in self.states)

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]:
        return await deployment.plan(self.states, destroy=True)

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        return await deployment.destroy(planned)


@dataclass(frozen=True)
class ProductionTeardown:
    """`leaving`: the regions that go; `remaining`: deployed ones that stay; `everything`: foundation goes too."""

    states: ProductionPlanner
    release: Release
    leaving: tuple[str, ...]
    remaining: tuple[str, ...]
    primary: str
    everything: bool

    @classmethod
    def of(
        cls,
        states: ProductionPlanner,
        environment: Environment,
        release: Release,
        regions: Sequence[str],
        *,
        everything: bool,
    ) -> ProductionTeardown:
        """Raises: ConflictError: the primary region would go before others whose databases follow its own."""
        remaining = tuple(name for name in states.deployed_regions() if name not in regions)
        primary = environment.primary_region
        if primary in regions and remaining:
            raise ConflictError(
                f"the primary region {primary} goes last: the databases of {', '.join(remaining)} follow its own",
                where=f"environment {environment.name}",
                hint="take the other regions down first, or all with --all-regions",
            )
        return cls(states, release, tuple(regions), remaining, primary, everything)

    @property
    def keeps_edge(self) -> bool:
        """Whether the edge stays, for the regions that remain. It is changed first: players leave."""
        return bool(self.remaining)

    @property
    def going(self) -> tuple[str, ...]:
        return tuple(unit for stage in self.stages for unit in stage if unit != EDGE or not self.keeps_edge)

    @property
    def stages(self) -> list[list[str]]:
        secondaries = [name for name in self.leaving if name != self.primary]
        order = [
            [EDGE],
            secondaries,
            [name for name in self.leaving if name == self.primary],
            [FOUNDATION] if self.everything else [],
        ]
        return [stage for stage in order if stage]

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]:
        """Plans of every unit that is touched, in the order in which it is; what does not exist is unchanged."""
        units = [unit for stage in self.stages for unit in stage]
        there = {unit: await asyncio.to_thread(self.states.stack(unit).exists) for unit in units}
        made: dict[str, PlannedUnit] = {}
        if self.keeps_edge and there[EDGE]:
            reduced = await asyncio.to_thread(self.states.without, self.release, self.leaving)
            made[EDGE] = (await deployment.plan([reduced]))[0]
        going = [await asyncio.to_thread(self._last, unit) for unit in units if there[unit] and unit not in made]
        made |= {one.stack.unit: one for one in await deployment.plan(going, destroy=True)}
        return [
            made.get(unit)
            or PlannedUnit(DesiredState(self.states.stack(unit), {}), None, UnitResult(unit, UnitOutcome.UNCHANGED))
            for unit in units
        ]

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply the plans stage by stage, see `in_stages`."""

        async def work(stage: list[PlannedUnit]) -> list[UnitResult]:
            if self.keeps_edge and stage[0].unit == EDGE:
                return await deployment.apply([item for item in stage if item.plan is not None]) or [stage[0].result]
            return await deployment.destroy(stage)

        return await in_stages(deployment, self.stages, planned, work)

    def _last(self, unit: str) -> DesiredState:
        """The unit as it was applied; where that is not known any more, as it would be applied now."""
        try:
            return self.states.for_last_apply(unit)
        except NotFoundError:
            return self.states.for_release(unit, self.release)
