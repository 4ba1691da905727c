"""Provides the loop of every rollout: the loop works on one stage of units after another, until a unit fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mjctl.deploy.executor import Deployment, PlannedUnit, discard
from mjctl.deploy.releases.store import UnitReleases
from mjctl.models.deployment import UnitOutcome, UnitResult

StageWork = Callable[[list[PlannedUnit]], Awaitable[list[UnitResult]]]


async def in_stages(
    deployment: Deployment, stages: Sequence[Sequence[str]], planned: Sequence[PlannedUnit], work: StageWork
) -> list[UnitResult]:
    """Run `work` on the units of each stage. After a stage in which a unit fails, no further unit is changed.

    Args:
        deployment: Reports the units that are not started.
        stages: The names of the units in `planned`, split into the stages, in the order of the changes.
        planned: The units with their plans.
        work: Changes the units of one stage and returns their results.

    Returns:
        The results of the units, in the order of `planned`.
    """
    by_unit = {item.unit: item for item in planned}
    results: dict[str, UnitResult] = {}
    for stage in stages:
        chosen = [by_unit[unit] for unit in stage]
        if all(result.ok for result in results.values()):
            ended = await work(chosen)
        else:
            discard(chosen)
            ended = [not_started(deployment, item) for item in chosen]
        results.update({result.unit: result for result in ended})
    return [results[unit] for unit in by_unit]


def not_started(deployment: Deployment, planned: PlannedUnit) -> UnitResult:
    """Report a unit that stays unchanged because another unit failed, and return the result NOT_STARTED of the unit."""
    current = UnitReleases(planned.stack).current()
    return deployment.finish(
        replace(
            planned.result,
            outcome=UnitOutcome.NOT_STARTED,
            add=0,
            change=0,
            remove=0,
            seconds=0.0,
            revision=current.revision if current else None,
            waits_for=(),
        )
    )
