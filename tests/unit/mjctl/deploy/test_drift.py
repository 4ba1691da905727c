from __future__ import annotations

import pytest

from mjctl.deploy.drift import overlook
from mjctl.models.deployment import Change, Outcome, RegionResult

API = Change("module.api.terraform_data.process", "replace")
SERVER = Change('module.game_server["game-us-east-1a-1"].terraform_data.process', "replace")
DRIFTED = RegionResult("us-east-1", Outcome.PLANNED, add=2, remove=2, changes=(API, SERVER))


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
    result = overlook(DRIFTED, ignore)
    assert result.changes == left
    assert set(result.ignored) == {API, SERVER} - set(left)
    assert result.outcome is (Outcome.PLANNED if left else Outcome.UNCHANGED)
    assert (result.add, result.remove) == (len(left), len(left))


def test_a_failure_stays_one() -> None:
    failed = RegionResult("us-east-1", Outcome.FAILED, changes=(API,))
    assert overlook(failed, ["*"]).outcome is Outcome.FAILED
