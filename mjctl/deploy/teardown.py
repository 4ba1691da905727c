"""Taking a production environment down, or one region out of it: players first, then the regions, the primary last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mjctl.deploy.executor import Deployment, Planned, discard
from mjctl.deploy.intents import Intent
from mjctl.deploy.production import ProductionIntents
from mjctl.deploy.rollout import not_started
from mjctl.models.deployment import Outcome, RegionResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError, NotFoundError
from mjctl.models.release import Release


@dataclass(frozen=True)
class Teardown:
    """`leaving`: the regions that go; `remaining`: deployed ones that stay; `everything`: foundation goes too."""

    leaving: tuple[str, ...]
    remaining: tuple[str, ...]
    primary: str
    everything: bool

    @classmethod
    def of(
        cls, intents: ProductionIntents, environment: Environment, regions: Sequence[str], *, everything: bool
    ) -> Teardown:
        """Raises: ConflictError: the primary region would go before others whose databases follow its own."""
        remaining = tuple(name for name in intents.deployed_regions() if name not in regions)
        primary = environment.primary_region
        if primary in regions and remaining:
            raise ConflictError(
                f"the primary region {primary} goes last: the databases of {', '.join(remaining)} follow its own",
                where=f"environment {environment.name}",
                hint="take the other regions down first, or all with --all-regions",
            )
        return cls(tuple(regions), remaining, primary, everything)

    @property
    def keeps_edge(self) -> bool:
        """Whether the edge stays, for the regions that remain."""
        return bool(self.remaining)

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

    async def plan(self, deployment: Deployment, intents: ProductionIntents, release: Release) -> list[Planned]:
        """Plans of every unit that is touched, in the order in which it is; what does not exist is unchanged."""
        units = [unit for stage in self.stages for unit in stage]
        there = {unit: await asyncio.to_thread(intents.stack(unit).exists) for unit in units}
        made: dict[str, Planned] = {}
        if self.keeps_edge and there[EDGE]:
            reduced = await asyncio.to_thread(intents.without, release, self.leaving)
            made[EDGE] = (await deployment.plan([reduced]))[0]
        going = [
            await asyncio.to_thread(_last, intents, unit, release) for unit in units if there[unit] and unit not in made
        ]
        made |= {one.stack.region: one for one in await deployment.plan(going, destroy=True)}
        return [
            made.get(unit) or Planned(Intent(intents.stack(unit), {}), None, RegionResult(unit, Outcome.UNCHANGED))
            for unit in units
        ]

    async def run(self, deployment: Deployment, planned: Sequence[Planned]) -> list[RegionResult]:
        """Apply the plans stage by stage. After a stage that is not well nothing else is touched."""
        by_unit = {one.stack.region: one for one in planned}
        results: dict[str, RegionResult] = {}
        for stage in self.stages:
            chosen = [by_unit[unit] for unit in stage]
            if not all(result.ok for result in results.values()):
                discard(chosen)
                found = [not_started(deployment, one) for one in chosen]
            elif stage == [EDGE] and self.keeps_edge:
                found = await deployment.apply([one for one in chosen if one.plan is not None]) or [chosen[0].result]
            else:
                found = await deployment.destroy(chosen)
            results.update({one.region: one for one in found})
        return [results[unit] for unit in by_unit]


def _last(intents: ProductionIntents, unit: str, release: Release) -> Intent:
    """The unit as it was applied; where that is not known any more, as it would be applied now."""
    try:
        return intents.applied(unit)
    except NotFoundError:
        return intents.wanted(unit, release)
