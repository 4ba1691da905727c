from __future__ import annotations

import pytest

from mjctl.deploy.planner.drift import ignore_expected_drift
from mjctl.models.deployment import Change, UnitOutcome, UnitResult

API = Change("module.api.terraform_data.process", "replace")
SERVER = Change('module.game_server["game-us-east-1a-1"].terraform_data.process', "replace")
DRIFTED = UnitResult("us-east-1", UnitOutcome.PLANNED, add=2, remove=2, changes=(API, SERVER))


@pytest.mark.parametrize(
    ("ignore", "remaining"),
    [
        ([], (API, SERVER)),
        (["module.other.*"], (API, SERVER)),
        (["module.api.*"], (SERVER,)),
        (['module.game_server["game-us-east-1?-1"].*'], (API,)),
        (["module.api"], (API, SERVER)),
        (["*"], ()),
    ],
)
def test_a_change_is_ignored_only_if_a_glob_matches_the_whole_address(
    ignore: list[str], remaining: tuple[Change, ...]
) -> None:
    result = ignore_expected_drift(DRIFTED, ignore)
    assert result.changes == remaining
    assert set(result.ignored) == {API, SERVER} - set(remaining)
    assert result.outcome is (UnitOutcome.PLANNED if remaining else UnitOutcome.UNCHANGED)
    assert (result.add, result.remove) == (len(remaining), len(remaining))


def test_a_failed_unit_stays_failed_although_all_its_changes_are_ignored() -> None:
    failed = UnitResult("us-east-1", UnitOutcome.FAILED, changes=(API,))
    assert ignore_expected_drift(failed, ["*"]).outcome is UnitOutcome.FAILED
