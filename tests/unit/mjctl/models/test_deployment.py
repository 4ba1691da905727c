from __future__ import annotations

import pytest

from mjctl.models.deployment import RunResult, UnitOutcome, UnitResult, exit_code
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
def test_the_exit_code_follows_from_the_outcomes_of_the_regions(results: list[UnitResult], code: ExitCode) -> None:
    assert exit_code(results) is code


@pytest.mark.parametrize(
    ("outcome", "only_planned", "code"),
    [
        (UnitOutcome.PLANNED, True, ExitCode.CHANGES_PENDING),
        (UnitOutcome.WAITING, True, ExitCode.CHANGES_PENDING),
        (UnitOutcome.UNCHANGED, True, ExitCode.OK),
        (UnitOutcome.APPLIED, False, ExitCode.OK),
    ],
)
def test_a_run_that_only_plans_ends_with_changes_pending(
    outcome: UnitOutcome, only_planned: bool, code: ExitCode
) -> None:
    assert RunResult("plan", (SAME, UnitResult("a", outcome)), only_planned=only_planned).exit_code is code


def test_a_failed_plan_takes_precedence_over_pending_changes() -> None:
    results = (UnitResult("a", UnitOutcome.PLANNED), failed(LockedError("x")))
    assert RunResult("plan", results, only_planned=True).exit_code is ExitCode.PARTIAL
