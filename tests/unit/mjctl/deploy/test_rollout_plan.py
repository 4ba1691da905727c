from __future__ import annotations

import pytest

from mjctl.deploy.rollout import RolloutPlan, Strategy

REGIONS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("plan", "regions", "waves"),
    [
        (RolloutPlan(), REGIONS, [["a", "b", "c"]]),
        (RolloutPlan(Strategy.SEQUENTIAL), REGIONS, [["a"], ["b"], ["c"]]),
        (RolloutPlan(Strategy.CANARY), REGIONS, [["a"], ["b", "c"]]),
        (RolloutPlan(Strategy.CANARY, "b"), REGIONS, [["b"], ["a", "c"]]),
        (RolloutPlan(Strategy.CANARY), ["a"], [["a"]]),
    ],
)
def test_a_strategy_splits_the_regions_into_waves(
    plan: RolloutPlan, regions: list[str], waves: list[list[str]]
) -> None:
    assert plan.waves(regions) == waves
