"""Deploys units that need the outputs of other units, stage by stage.

A unit is planned before the first stage if all outputs that the unit needs are known. A unit that needs an unknown
output is planned after the stage that publishes the output. New code may add a part to the outputs of foundation. All
other units are then planned after foundation, because their new code may need this part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from mjctl.deploy.distribution_pass import replace_at
from mjctl.deploy.executor import Deployment, PlannedUnit, discard
from mjctl.deploy.faults import as_error
from mjctl.deploy.planner.desired_state import DesiredState, Planner
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.deploy.releases.store import UnitReleases
from mjctl.deploy.rollout import Rollout
from mjctl.deploy.schema import SchemaUpdater
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
    """Plan every unit whose inputs are known, and give every other unit the outcome WAITING.

    Args:
        planner: Computes the desired state of a unit.
        units: The names of the units, in the order in which they are applied.
        release: The release to deploy.
        folder: The folder that keeps the plans for a later deploy, or None for temporary plans.

    Raises:
        ConflictError: `folder` is given, and a unit cannot be planned because it needs an unknown output.
    """
    waits = {unit: await asyncio.to_thread(planner.waits_for, unit, units) for unit in units}
    _refuse_saved_plans(planner, waits, folder)
    ready = [await asyncio.to_thread(planner.for_release, unit, release) for unit in units if not waits[unit]]
    early = [desired for desired in ready if desired.unit == FOUNDATION and _has_new_code(desired)]
    planned = {item.unit: item for item in await deployment.plan(early, folder=folder)} if early else {}
    if any(item.plan is not None and item.plan.adds_to_outputs for item in planned.values()):
        waits = {unit: () if unit == FOUNDATION else (FOUNDATION,) for unit in units}
        try:
            _refuse_saved_plans(planner, waits, folder)
        except ConflictError:
            discard(list(planned.values()))
            raise
    later = [desired for desired in ready if desired.unit not in planned and not waits[desired.unit]]
    planned |= {item.unit: item for item in await deployment.plan(later, folder=folder)}
    return [planned.get(unit) or _waiting(deployment, planner, unit, waits[unit]) for unit in units]


def stages(units: Sequence[str], *, first: str | None = None) -> list[list[str]]:
    """Split `units` into stages: foundation, then the region `first` alone, then all other regions, then edge.

    Args:
        first: The region that must be applied before the other regions, or None if the order of the regions does not
            matter.
    """
    regions = [unit for unit in units if unit not in (FOUNDATION, EDGE)]
    order = [
        [FOUNDATION],
        [unit for unit in regions if unit == first],
        [unit for unit in regions if unit != first],
        [EDGE],
    ]
    return [chosen for stage in order if (chosen := [unit for unit in stage if unit in units])]


class StagedRollout:
    """Applies the units of a production environment stage by stage."""

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
        """Prepare a rollout.

        Args:
            deployment: Runs Terraform.
            planner: Computes the desired state of a unit.
            rollout: Applies the regions in waves, with the gate.
            release: The release to deploy.
            environment: The environment of the units.
            approved: True to fail a unit whose given plan does not fit any more, False to plan that unit again.
        """
        self._deployment = deployment
        self._planner = planner
        self._rollout = rollout
        self._release = release
        self._environment = environment
        self._primary = environment.primary_region
        self._approved = approved
        self._schema = SchemaUpdater(planner, environment, deployment.reporter)

    async def run(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Apply `planned` stage by stage. After a stage in which a unit fails, no further unit is changed.

        A unit is planned again if an earlier stage has changed an output that the unit needs.

        Returns:
            The results of the units, in the order of `planned`.
        """
        new = not await asyncio.to_thread(self._planner.is_deployed, self._primary)
        order = stages([item.unit for item in planned], first=self._primary if new else None)
        return await in_stages(self._deployment, order, planned, self._stage)

    async def _stage(self, planned: Sequence[PlannedUnit]) -> list[UnitResult]:
        ready = await self._brought_up_to_date(planned)
        if not all(item.result.ok for item in ready):
            discard(ready)
            return [not_started(self._deployment, item) if item.result.ok else item.result for item in ready]
        unit = ready[0].unit
        if unit not in (FOUNDATION, EDGE):
            return await self._regions(ready)
        applied = await self._deployment.apply(ready)
        return [await self._completed_edge(result) if unit == EDGE and result.ok else result for result in applied]

    async def _regions(self, ready: Sequence[PlannedUnit]) -> list[UnitResult]:
        """Update the schema of the database, and apply the regions.

        No region is changed if the registry of a region lacks the image, or if the update of the schema fails.
        """
        current = ready[0]
        try:
            for current in ready:
                say = partial(self._deployment.reporter.note, current.unit)
                await self._planner.provide_image(current.unit, self._release, say)
            current = ready[0]
            await self._schema.run(current.desired)
        except Exception as error:
            discard(ready)
            fault = as_error(error, current.stack)
            failed = replace(current.result, outcome=UnitOutcome.FAILED, error=fault, add=0, change=0, remove=0)
            return [
                self._deployment.finish(failed) if item is current else not_started(self._deployment, item)
                for item in ready
            ]
        served = (await asyncio.to_thread(self._planner.published, EDGE)).get("contract", {}).get("regions", ())
        results = await self._rollout.run(
            ready,
            unserved=[item.unit for item in ready if item.unit not in served],
            # The first deploy of an environment creates the database, so its schema follows the apply.
            after_apply=lambda item: self._schema.run(item.desired),
        )
        updated, self._schema.update = self._schema.update, None
        return [replace(result, schema=updated) if result is results[0] else result for result in results]

    async def _completed_edge(self, result: UnitResult) -> UnitResult:
        """Replace the distribution's pass, and publish the web client of the release at the edge.

        Terraform does neither: a pass must not be in a state, and the files of the web client are no resources.

        Returns:
            The given `result`, with the outcome FAILED if a step failed.
        """
        try:
            await self._replace_pass()
            await self._publish_client()
        except Exception as error:
            fault = as_error(error, self._planner.stack(EDGE))
            return self._deployment.finish(replace(result, outcome=UnitOutcome.FAILED, error=fault))
        return result

    async def _replace_pass(self) -> None:
        if await asyncio.to_thread(replace_at, self._planner.stack(EDGE), self._environment):
            self._deployment.reporter.note(EDGE, "the API accepts the new pass of the distribution")

    async def _publish_client(self) -> None:
        # Import `web_client` only here, because it imports the game's HTTP server, which no plan needs.
        from mjctl.deploy.releases.web_client import publish_at

        folder = self._deployment.store.web_dir(self._release)
        if folder is None:
            return
        published = await asyncio.to_thread(publish_at, self._planner.stack(EDGE), self._environment, folder)
        if published is not None and (changed := len(published.uploaded) + len(published.removed)):
            self._deployment.reporter.note(EDGE, f"web client: {changed} files published")

    async def _brought_up_to_date(self, planned: Sequence[PlannedUnit]) -> list[PlannedUnit]:
        """Return the units of `planned`, each with a plan that fits the current outputs of the other units."""
        current: dict[str, PlannedUnit] = {}
        stale: list[DesiredState] = []
        for item in planned:
            try:
                desired = await asyncio.to_thread(self._planner.for_release, item.unit, self._release)
            except Exception as error:
                current[item.unit] = self._failed(item, as_error(error, item.stack))
                continue
            if item.plan is not None and desired.variables == item.desired.variables:
                current[item.unit] = item
            elif self._approved:
                current[item.unit] = self._failed(item, _outdated(item))
            else:
                discard([item])
                stale.append(desired)
        for item in await self._deployment.plan(stale):
            current[item.unit] = item
        return [current[item.unit] for item in planned]

    def _failed(self, planned: PlannedUnit, error: MjctlError) -> PlannedUnit:
        discard([planned])
        result = replace(planned.result, outcome=UnitOutcome.FAILED, error=error)
        return replace(planned, plan=None, result=self._deployment.finish(result))


def _has_new_code(desired: DesiredState) -> bool:
    """Return whether the Terraform code of the last apply differs from the code of `desired`."""
    current = UnitReleases(desired.stack).current()
    if current is None or desired.release is None:
        return False
    return current.release.terraform != desired.release.terraform


def _refuse_saved_plans(planner: Planner, waits: Mapping[str, tuple[str, ...]], folder: PlanFolder | None) -> None:
    waiting = [unit for unit, needed in waits.items() if needed]
    if folder is not None and waiting:
        raise ConflictError(
            f"cannot plan {', '.join(waiting)} yet: the plan needs outputs of {' and '.join(waits[waiting[-1]])}, "
            "which do not exist before the deploy",
            where=str(folder.path),
            hint="make this deploy without saved plans: "
            f"`mjctl deploy --env {planner.stack(waiting[0]).environment} --all-regions` plans and applies stage by "
            "stage",
        )


def _waiting(deployment: Deployment, planner: Planner, unit: str, needed: tuple[str, ...]) -> PlannedUnit:
    deployment.reporter.note(unit, f"mjctl plans this unit after it has applied {' and '.join(needed)}")
    return PlannedUnit(
        DesiredState(planner.stack(unit), {}), None, UnitResult(unit, UnitOutcome.WAITING, waits_for=needed)
    )


def _outdated(planned: PlannedUnit) -> ConflictError:
    return ConflictError(
        "the approved plan does not fit any more: an earlier stage of the deploy has changed an output that the plan "
        "uses",
        where=planned.stack.where,
        hint=f"make and approve new plans: `mjctl plan --env {planned.stack.environment} --all-regions --out DIR`",
    )
