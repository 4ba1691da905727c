"""Tests how many tasks target tracking policies want, and how several policies agree."""

from __future__ import annotations

import pytest

from mjctl.sandbox.stage.target_tracking import ScalingVote, combined, vote

POLICY = {"TargetValue": 100.0, "ScaleOutCooldown": 60, "ScaleInCooldown": 600}


@pytest.mark.parametrize(
    ("newest", "tasks"),
    [
        ([150.0, 150.0, 150.0], 5),
        ([101.0, 101.0, 101.0], 4),
        ([90.0, 150.0, 150.0], None),
        ([None, 150.0, 150.0], None),
        ([100.0, 100.0, 100.0], None),
    ],
)
def test_three_minutes_above_the_target_add_tasks(newest: list[float | None], tasks: int | None) -> None:
    wanted = vote(POLICY, [None] * 12 + newest, 3)
    assert (wanted.tasks if wanted else None) == tasks
    assert wanted is None or wanted.cooldown == 60.0


def test_fifteen_minutes_below_the_target_remove_tasks() -> None:
    assert vote(POLICY, [40.0] * 15, 5) == ScalingVote(2, 600.0)
    assert vote(POLICY, [None] + [40.0] * 14, 5) is None
    assert vote(POLICY, [95.0] * 15, 5) is None
    assert vote({**POLICY, "DisableScaleIn": True}, [40.0] * 15, 5) is None


def test_the_largest_number_of_tasks_counts() -> None:
    assert combined([ScalingVote(5, 60.0), ScalingVote(7, 30.0), None], 3) == ScalingVote(7, 30.0)
    assert combined([ScalingVote(2, 600.0), ScalingVote(7, 60.0)], 3) == ScalingVote(7, 60.0)


def test_tasks_are_removed_only_if_all_policies_agree() -> None:
    assert combined([ScalingVote(2, 600.0), ScalingVote(4, 600.0)], 5) == ScalingVote(4, 600.0)
    assert combined([ScalingVote(2, 600.0), None], 5) is None
    assert combined([ScalingVote(5, 600.0)], 5) is None
    assert combined([], 5) is None
