from __future__ import annotations

from typing import Any

import pytest

from mjctl.cli.deploy_run import exit_code, roll_out
from mjctl.deploy.executor import PlannedUnit
from mjctl.deploy.rollout import RolloutPlan
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.errors import Interrupted, LockedError, MjctlError, TerraformError
from mjctl.models.exit_codes import ExitCode

GOOD = UnitResult("a", UnitOutcome.APPLIED)
SAME = UnitResult("b", UnitOutcome.UNCHANGED)


def failed(error: MjctlError) -> UnitResult:
    return UnitResult("c", UnitOutcome.FAILED, error=error)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([GOOD, SAME], ExitCode.OK),
        ([GOOD, failed(TerraformError("x"))], ExitCode.PARTIAL),
        ([failed(TerraformError("x")), failed(TerraformError("y"))], ExitCode.FAILED),
        ([failed(LockedError("x"))], ExitCode.LOCKED),
        ([failed(LockedError("x")), failed(TerraformError("y"))], ExitCode.FAILED),
        ([GOOD, UnitResult("c", UnitOutcome.INTERRUPTED, error=Interrupted("x"))], ExitCode.INTERRUPTED),
    ],
)
def test_the_exit_code_says_how_the_regions_ended(results: list[UnitResult], code: ExitCode) -> None:
    assert exit_code(results) is code


def test_when_one_plan_fails_the_others_are_not_started_and_not_half_done() -> None:
    good = UnitResult("a", UnitOutcome.PLANNED, add=3, revision="new")
    waiting = UnitResult("edge", UnitOutcome.WAITING, waits_for=("a",))
    planned: Any = [PlannedUnit(Any, None, one) for one in (good, failed(TerraformError("x")), waiting, SAME)]  # type: ignore[arg-type]
    run: Any = None
    results = roll_out(run, planned[:3], RolloutPlan(), None, True, None, None)
    assert [result.outcome for result in results] == [
        UnitOutcome.NOT_STARTED,
        UnitOutcome.FAILED,
        UnitOutcome.NOT_STARTED,
    ]
    assert (results[0].add, results[0].revision) == (0, None), (
        "nothing was added, and what runs is not the new revision"
    )
    assert exit_code(results) is ExitCode.FAILED, "no region is done"
    results = roll_out(run, [*planned[:2], planned[3]], RolloutPlan(), None, True, None, None)
    assert results[2].outcome is UnitOutcome.UNCHANGED
