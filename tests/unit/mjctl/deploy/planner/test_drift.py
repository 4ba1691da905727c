from __future__ import annotations

import pytest

from mjctl.deploy.planner.drift import ignore_expected_drift
from mjctl.models.deployment import Change, UnitOutcome, UnitResult

API = Change("module.api.terraform_data.process", "replace")
SERVER = Change('module.game_server["game-us-east-1a-1"].terraform_data.process', "replace")
DRIFTED = UnitResult("us-east-1", UnitOutcome.PLANNED, add=2, remove=2, changes=(API, SERVER))


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ([], (API, SERVER)),
        (["module.other.*"], (API, SERVER)),
        (["module.api.*"], (SERVER,)),
        (['module.game_server["game-us-east-1?-1"].*'], (API,)),
        (["module.api"], (API, SERVER)),
        (["*"], ()),
    ],
)
def test_only_what_fits_a_whole_glob_is_overlooked(ignore: list[str], left: tuple[Change, ...]) -> None:
    result = ignore_expected_drift(DRIFTED, ignore)
    assert result.changes == left
    assert set(result.ignored) == {API, SERVER} - set(left)
    assert result.outcome is (UnitOutcome.PLANNED if left else UnitOutcome.UNCHANGED)
    assert (result.add, result.remove) == (len(left), len(left))


def test_a_failure_stays_one() -> None:
    failed = UnitResult("us-east-1", UnitOutcome.FAILED, changes=(API,))
    assert ignore_expected_drift(failed, ["*"]).outcome is UnitOutcome.FAILED
