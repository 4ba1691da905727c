"""Reports a partly deployed region.

A part that an interrupted deploy did not create has no check, so no other check can report the missing part.
"""

from __future__ import annotations

from collections.abc import Mapping

from mjctl.models.check import CheckResult, CheckStatus, Severity

NAME = "deployment"


def half_made(environment: str, region: str, holder: Mapping[str, object] | None) -> CheckResult:
    """Return the result for a region that is only partly deployed.

    Args:
        environment: name of the environment.
        region: name of the region.
        holder: the record of the run that changes the region now; None if no run changes it, because the last run was
            interrupted.
    """
    if holder is not None:
        return CheckResult(
            NAME,
            region,
            CheckStatus.WARN,
            f"the region is only partly deployed: `{holder.get('purpose')}` is still running",
            hint="wait until the run ends; "
            f"`mjctl status --env {environment} --region {region}` shows who started the run",
            severity=Severity.MAJOR,
        )
    return CheckResult(
        NAME,
        region,
        CheckStatus.FAIL,
        "the region is only partly deployed: the last deploy was interrupted",
        hint=f"`mjctl deploy --env {environment} --region {region}` creates the missing parts of the region",
        severity=Severity.MAJOR,
    )
