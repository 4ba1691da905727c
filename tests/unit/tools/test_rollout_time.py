from __future__ import annotations

import pytest

from gameserver.runtime.ecs import LONGEST_PROTECTION_MINUTES, protection
from gameserver.runtime.settings import Mode
from tools.rollout_time import rollout_seconds

# The settings of terraform/modules/game_service.
SETTINGS = {"maximum_percent": 200, "healthy_seconds": 10, "deregistration_seconds": 30}


def test_a_deploy_of_12_servers_takes_less_than_10_minutes_at_the_worst() -> None:
    # No server drops its protection, and every server needs all its time to end: 180 + 180 + 10 + 30 + 120 s.
    assert rollout_seconds(12, **SETTINGS) == 520


def test_a_deploy_usually_takes_less_than_4_minutes() -> None:
    # The servers drop their protection and end within 5 s of SIGTERM.
    assert rollout_seconds(12, **SETTINGS, protection_seconds=0, stop_seconds=5) == 225


def test_the_number_of_servers_makes_no_difference_if_all_are_replaced_at_once() -> None:
    assert rollout_seconds(120, **SETTINGS) == rollout_seconds(12, **SETTINGS)


@pytest.mark.parametrize(("maximum_percent", "waves"), [(200, 1), (150, 2), (125, 4), (101, 12)])
def test_a_lower_limit_of_tasks_makes_waves(maximum_percent: int, waves: int) -> None:
    changed = {**SETTINGS, "maximum_percent": maximum_percent}
    assert rollout_seconds(12, **changed) == 180 + 340 * waves


def test_no_length_of_a_mode_makes_a_deploy_longer() -> None:
    longest = protection((Mode("marathon", 8, 24 * 3600.0),), lambda: True, {"ECS_AGENT_URI": "http://127.0.0.1:9"})
    assert longest is not None
    assert longest.minutes == LONGEST_PROTECTION_MINUTES
