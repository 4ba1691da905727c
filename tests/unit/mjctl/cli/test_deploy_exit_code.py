from __future__ import annotations

import pytest

from mjctl.cli.deploy_run import exit_code
from mjctl.models.deployment import Outcome, RegionResult
from mjctl.models.errors import Interrupted, LockedError, MjctlError, TerraformError
from mjctl.models.exit_codes import ExitCode

GOOD = RegionResult("a", Outcome.APPLIED)
SAME = RegionResult("b", Outcome.UNCHANGED)


def failed(error: MjctlError) -> RegionResult:
    return RegionResult("c", Outcome.FAILED, error=error)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([GOOD, SAME], ExitCode.OK),
        ([GOOD, failed(TerraformError("x"))], ExitCode.PARTIAL),
        ([failed(TerraformError("x")), failed(TerraformError("y"))], ExitCode.FAILED),
        ([failed(LockedError("x"))], ExitCode.LOCKED),
        ([failed(LockedError("x")), failed(TerraformError("y"))], ExitCode.FAILED),
        ([GOOD, RegionResult("c", Outcome.INTERRUPTED, error=Interrupted("x"))], ExitCode.INTERRUPTED),
    ],
)
def test_the_exit_code_says_how_the_regions_ended(results: list[RegionResult], code: ExitCode) -> None:
    assert exit_code(results) is code
