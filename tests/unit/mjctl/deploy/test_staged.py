from __future__ import annotations

import pytest

from mjctl.deploy.rollout import RolloutPlan, Strategy
from mjctl.deploy.staged import stages

REGIONS = ["eu-west-1", "us-east-1", "ap-northeast-1"]


@pytest.mark.parametrize(
    ("units", "first", "expected"),
    [
        (
            ["foundation", *REGIONS, "edge"],
            "us-east-1",
            [["foundation"], ["us-east-1"], ["eu-west-1", "ap-northeast-1"], ["edge"]],
        ),
        (["foundation", *REGIONS, "edge"], None, [["foundation"], REGIONS, ["edge"]]),
        (["foundation", "eu-west-1", "edge"], "us-east-1", [["foundation"], ["eu-west-1"], ["edge"]]),
        (["eu-west-1"], None, [["eu-west-1"]]),
    ],
)
def test_foundation_comes_first_then_a_new_primary_region_then_other_regions_then_edge(
    units: list[str], first: str | None, expected: list[list[str]]
) -> None:
    assert stages(units, first=first) == expected


def test_a_canary_outside_of_a_stage_does_not_change_the_order_of_the_stage() -> None:
    plan = RolloutPlan(Strategy.CANARY, canary="eu-west-1")
    assert plan.waves(["us-east-1"]) == [["us-east-1"]]
    assert plan.waves(REGIONS) == [["eu-west-1"], ["us-east-1", "ap-northeast-1"]]
