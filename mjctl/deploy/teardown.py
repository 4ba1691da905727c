"""Destroys an environment or some of its regions.

In a production environment, the edge stops sending players to the regions before the regions are destroyed. The primary
region is the last region that is destroyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from mjctl.clients.global_database import read_from_any
from mjctl.deploy.executor import Deployment, PlannedUnit
from mjctl.deploy.planner.desired_state import DesiredState
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.stages import in_stages
from mjctl.models.contract import Contract
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConfigError, ConflictError, NotFoundError, UnreachableError
from mjctl.models.release import Release


class Teardown(Protocol):
    """Plans and runs a destroy. The property `going` names the units that are destroyed completely."""

    @property
    def going(self) -> tuple[str, ...]: ...

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]: ...

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]: ...


@dataclass(frozen=True)
class LocalTeardown:
    """Destroys local regions, all at the same time, because no local region needs another region.

    Attributes:
        states: The Terraform code and the variables with which each region is destroyed.
    """

    states: Sequence[DesiredState]

    @property
    def going(self) -> tuple[str, ...]:
        """Return the names of the regions, which are all destroyed completely."""
        return tuple(desired.unit for desired in self.states)

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]:
        """Plan the destroy of every region."""
        return await deployment.plan(self.states, destroy=True)

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply the plans that destroy the regions."""
        return await deployment.destroy(planned)


@dataclass(frozen=True)
class ProductionTeardown:
    """Destroys regions of a production environment, or the whole environment.

    Attributes:
        states: The planner that computes the code and the variables with which a unit is destroyed.
        release: The release of the working tree.
        leaving: The regions to destroy.
        remaining: The deployed regions that stay.
        primary: The primary region of the environment.
        everything: True to destroy the stack `foundation` too.
    """

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
        """Return the teardown that destroys `regions`.

        Raises:
            ConflictError: The primary region would be destroyed before other regions, whose databases replicate from
                the primary region's database.
        """
        remaining = tuple(name for name in states.deployed_regions() if name not in regions)
        primary = environment.primary_region
        if primary in regions and remaining:
            raise ConflictError(
                f"the primary region {primary} must be destroyed last: the databases of {', '.join(remaining)} "
                f"replicate from the database in {primary}",
                where=f"environment {environment.name}",
                hint="destroy the other regions first, or all regions with --all-regions",
            )
        return cls(states, release, tuple(regions), remaining, primary, everything)

    @property
    def keeps_edge(self) -> bool:
        """Return True if the edge stays, because other regions remain.

        An edge that stays is changed before the regions are destroyed, so that it sends no players to these regions.
        """
        return bool(self.remaining)

    @property
    def going(self) -> tuple[str, ...]:
        """Return the names of the units that are destroyed completely."""
        return tuple(unit for stage in self.stages for unit in stage if unit != EDGE or not self.keeps_edge)

    @property
    def stages(self) -> list[list[str]]:
        """Return the units to change or destroy in four stages: edge, secondary regions, primary region, foundation."""
        secondaries = [name for name in self.leaving if name != self.primary]
        order = [
            [EDGE],
            secondaries,
            [name for name in self.leaving if name == self.primary],
            [FOUNDATION] if self.everything else [],
        ]
        return [stage for stage in order if stage]

    async def plan(self, deployment: Deployment) -> list[PlannedUnit]:
        """Plan the change of the edge or its destroy, and the destroy of every other unit, in the order of the stages.

        A unit that does not exist has the outcome UNCHANGED and no plan.

        Raises:
            ConflictError: The database's writer is in a secondary region that would be destroyed.
        """
        await self._require_that_the_writer_stays()
        units = [unit for stage in self.stages for unit in stage]
        exists = {unit: await asyncio.to_thread(self.states.stack(unit).exists) for unit in units}
        planned: dict[str, PlannedUnit] = {}
        if self.keeps_edge and exists[EDGE]:
            reduced = await asyncio.to_thread(self.states.without, self.release, self.leaving)
            planned[EDGE] = (await deployment.plan([reduced]))[0]
        going = [await asyncio.to_thread(self._last, unit) for unit in units if exists[unit] and unit not in planned]
        planned |= {item.unit: item for item in await deployment.plan(going, destroy=True)}
        return [
            planned.get(unit)
            or PlannedUnit(DesiredState(self.states.stack(unit), {}), None, UnitResult(unit, UnitOutcome.UNCHANGED))
            for unit in units
        ]

    async def run(self, deployment: Deployment, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply the plans stage by stage. After a stage in which a unit fails, no further unit is changed."""

        async def work(stage: list[PlannedUnit]) -> list[UnitResult]:
            if self.keeps_edge and stage[0].unit == EDGE:
                return await deployment.apply([item for item in stage if item.plan is not None]) or [stage[0].result]
            return await deployment.destroy(stage)

        return await in_stages(deployment, self.stages, planned, work)

    async def _require_that_the_writer_stays(self) -> None:
        """Check that no secondary region with the database's writer is destroyed.

        AWS removes the writer from a global database only as the last cluster, and the cluster of the primary region is
        destroyed last:
        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-deleting.html

        Raises:
            ConflictError: A secondary region that would be destroyed has the writer.
        """
        secondaries = [region for region in self.leaving if region != self.primary]
        contracts = []
        for region in secondaries:
            published = (await asyncio.to_thread(self.states.published, region)).get("contract")
            # Another version of mjctl may have deployed the region.
            with suppress(ConfigError):
                contracts += [Contract.parse(published)] if published is not None else []
        if not contracts:
            return
        try:
            database = await read_from_any(contracts)
        except (NotFoundError, UnreachableError):
            # A lost region must not prevent its own destroy.
            return
        if database is not None and database.writer in secondaries:
            environment = contracts[0].environment
            raise ConflictError(
                f"the writer of the database is in {database.writer}, and AWS can remove only copies of the writer",
                where=f"environment {environment}, global cluster {database.name}",
                hint=f"move the writer first: `mjctl failover --env {environment} --region {self.primary} "
                "--restore --with-writer`",
            )

    def _last(self, unit: str) -> DesiredState:
        """Return the desired state of the unit's last apply, or of a new deploy if no apply is recorded."""
        try:
            return self.states.for_last_apply(unit)
        except NotFoundError:
            return self.states.for_release(unit, self.release)
