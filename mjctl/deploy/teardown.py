"""Taking a production environment down, or one region out of it: players first, then the regions, the primary last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mjctl.deploy.executor import Deployment, Planned, discard
from mjctl.deploy.intents import Intent
from mjctl.deploy.production import ProductionIntents
from mjctl.deploy.rollout import not_started
from mjctl.models.deployment import Outcome, RegionResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError, NotFoundError
from mjctl.models.release import Release


class Teardown(Protocol):
    """A destroy: planned, shown, then run. `going`: the units of which nothing is left."""

    @property
    def going(self) -> tuple[str, ...]: ...

    async def plan(self, deployment: Deployment) -> list[Planned]: ...

    async def run(self, deployment: Deployment, planned: Sequence[Planned]) -> list[RegionResult]: ...


@dataclass(frozen=True)
class LocalTeardown:
    """Local regions, all at once: none needs another."""

    intents: Sequence[Intent]

    @property
    def going(self) -> tuple[str, ...]:
        return tuple(intent.region for intent in self.intents)

    async def plan(self, deployment: Deployment) -> list[Planned]:
        return await deployment.plan(self.intents, destroy=True)

    async def run(self, deployment: Deployment, planned: Sequence[Planned]) -> list[RegionResult]:
        return await deployment.destroy(planned)


@dataclass(frozen=True)
class ProductionTeardown:
    """`leaving`: the regions that go; `remaining`: deployed ones that stay; `everything`: foundation goes too."""

    intents: ProductionIntents
    release: Release
    leaving: tuple[str, ...]
    remaining: tuple[str, ...]
    primary: str
    everything: bool

    @classmethod
    def of(
        cls,
        intents: ProductionIntents,
        environment: Environment,
        release: Release,
        regions: Sequence[str],
        *,
        everything: bool,
    ) -> ProductionTeardown:
        """Raises: ConflictError: the primary region would go before others whose databases follow its own."""
        remaining = tuple(name for name in intents.deployed_regions() if name not in regions)
        primary = environment.primary_region
        if primary in regions and remaining:
            raise ConflictError(
                f"the primary region {primary} goes last: the databases of {', '.join(remaining)} follow its own",
                where=f"environment {environment.name}",
                hint="take the other regions down first, or all with --all-regions",
            )
        return cls(intents, release, tuple(regions), remaining, primary, everything)

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

    async def plan(self, deployment: Deployment) -> list[Planned]:
        """Plans of every unit that is touched, in the order in which it is; what does not exist is unchanged."""
        units = [unit for stage in self.stages for unit in stage]
        there = {unit: await asyncio.to_thread(self.intents.stack(unit).exists) for unit in units}
        made: dict[str, Planned] = {}
        if self.keeps_edge and there[EDGE]:
            reduced = await asyncio.to_thread(self.intents.without, self.release, self.leaving)
            made[EDGE] = (await deployment.plan([reduced]))[0]
        going = [await asyncio.to_thread(self._last, unit) for unit in units if there[unit] and unit not in made]
        made |= {one.stack.region: one for one in await deployment.plan(going, destroy=True)}
        return [
            made.get(unit) or Planned(Intent(self.intents.stack(unit), {}), None, RegionResult(unit, Outcome.UNCHANGED))
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

    def _last(self, unit: str) -> Intent:
        """The unit as it was applied; where that is not known any more, as it would be applied now."""
        try:
            return self.intents.applied(unit)
        except NotFoundError:
            return self.intents.wanted(unit, self.release)
