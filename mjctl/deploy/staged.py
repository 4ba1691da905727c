"""Units whose input another unit publishes: planned as far as that is known, applied one stage after another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from mjctl.deploy.artifacts import PlanFolder
from mjctl.deploy.executor import Deployment, Planned, discard
from mjctl.deploy.faults import as_error
from mjctl.deploy.intents import Intent, Intents
from mjctl.deploy.production import ProductionIntents
from mjctl.deploy.rollout import Rollout, not_started
from mjctl.models.deployment import Outcome, RegionResult
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError, MjctlError
from mjctl.models.release import Release


async def plan_known(
    deployment: Deployment,
    intents: Intents,
    units: Sequence[str],
    release: Release,
    *,
    folder: PlanFolder | None = None,
) -> list[Planned]:
    """Plan every unit that can be planned now; the others are `waiting`.

    Raises:
        ConflictError: plans are to be kept in `folder`, and some cannot be made yet.
    """
    waits = {unit: await asyncio.to_thread(intents.waits_for, unit, units) for unit in units}
    waiting = [unit for unit, needed in waits.items() if needed]
    if folder is not None and waiting:
        raise ConflictError(
            f"no plan can be kept of {', '.join(waiting)} yet: what {' and '.join(waits[waiting[-1]])} will publish "
            "is not known before it is applied",
            where=str(folder.path),
            hint="deploy once without kept plans: `mjctl deploy --all-regions` shows each stage as it plans it",
        )
    ready = [await asyncio.to_thread(intents.wanted, unit, release) for unit in units if not waits[unit]]
    made = {one.stack.region: one for one in await deployment.plan(ready, folder=folder)}
    return [made.get(unit) or _waiting(deployment, intents, unit, waits[unit]) for unit in units]


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
        intents: ProductionIntents,
        rollout: Rollout,
        release: Release,
        *,
        environment: Environment,
        approved: bool = False,
    ) -> None:
        self._deployment = deployment
        self._intents = intents
        self._rollout = rollout
        self._release = release
        self._environment = environment
        self._primary = environment.primary_region
        self._approved = approved

    async def run(self, planned: Sequence[Planned]) -> list[RegionResult]:
        """Apply stage by stage; results in the order given. After a stage that is not well nothing else is touched.

        A plan whose input has changed since, because an earlier stage published something else, is made anew.
        """
        by_unit = {one.stack.region: one for one in planned}
        new = not await asyncio.to_thread(self._intents.is_deployed, self._primary)
        results: dict[str, RegionResult] = {}
        for stage in stages(list(by_unit), first=self._primary if new else None):
            chosen = [by_unit[unit] for unit in stage]
            if all(result.ok for result in results.values()):
                found = await self._stage(chosen)
            else:
                discard(chosen)
                found = [not_started(self._deployment, one) for one in chosen]
            results.update({one.region: one for one in found})
        return [results[unit] for unit in by_unit]

    async def _stage(self, planned: Sequence[Planned]) -> list[RegionResult]:
        ready = await self._brought_up_to_date(planned)
        if not all(one.result.ok for one in ready):
            discard(ready)
            return [not_started(self._deployment, one) if one.result.ok else one.result for one in ready]
        unit = ready[0].stack.region
        if unit not in (FOUNDATION, EDGE):
            served = (await asyncio.to_thread(self._intents.published, EDGE)).get("contract", {}).get("regions", ())
            return await self._rollout.run(
                ready, unserved=[one.stack.region for one in ready if one.stack.region not in served]
            )
        applied = await self._deployment.apply(ready)
        return [await self._with_client(one) if unit == EDGE and one.ok else one for one in applied]

    async def _with_client(self, result: RegionResult) -> RegionResult:
        """The edge serves the web client of this release too: it changes with the game, not with the stack."""
        # It takes the game's HTTP server along, which no plan needs.
        from mjctl.deploy.web_client import publish_at

        game_dir = self._deployment.store.game_dir(self._release)
        try:
            published = await asyncio.to_thread(publish_at, self._intents.stack(EDGE), self._environment, game_dir)
        except Exception as error:
            fault = as_error(error, self._intents.stack(EDGE))
            return self._deployment.finish(replace(result, outcome=Outcome.FAILED, error=fault))
        if published is not None and (changed := len(published.uploaded) + len(published.removed)):
            self._deployment.reporter.note(EDGE, f"web client: {changed} files published")
        return result

    async def _brought_up_to_date(self, planned: Sequence[Planned]) -> list[Planned]:
        """The same units, each with a plan that fits what is published now."""
        current: dict[str, Planned] = {}
        stale: list[Intent] = []
        for one in planned:
            unit = one.stack.region
            try:
                intent = await asyncio.to_thread(self._intents.wanted, unit, self._release)
            except Exception as error:
                current[unit] = self._failed(one, as_error(error, one.stack))
                continue
            if one.plan is not None and intent.variables == one.intent.variables:
                current[unit] = one
            elif self._approved:
                current[unit] = self._failed(one, _outdated(one))
            else:
                discard([one])
                stale.append(intent)
        for made in await self._deployment.plan(stale):
            current[made.stack.region] = made
        return [current[one.stack.region] for one in planned]

    def _failed(self, planned: Planned, error: MjctlError) -> Planned:
        discard([planned])
        result = replace(planned.result, outcome=Outcome.FAILED, error=error)
        return replace(planned, plan=None, result=self._deployment.finish(result))


def _waiting(deployment: Deployment, intents: Intents, unit: str, needed: tuple[str, ...]) -> Planned:
    deployment.reporter.note(unit, f"is planned once {' and '.join(needed)} is applied")
    return Planned(Intent(intents.stack(unit), {}), None, RegionResult(unit, Outcome.WAITING, waits_for=needed))


def _outdated(planned: Planned) -> ConflictError:
    return ConflictError(
        "the approved plan does not fit any more: what an earlier stage publishes has changed with this deploy",
        where=planned.stack.where,
        hint="make and approve new plans: `mjctl plan --all-regions --out DIR`",
    )
