"""Whether a region is wholly deployed: the parts that a cut-short deploy never made have no check that could fail."""

from __future__ import annotations

from collections.abc import Mapping

from mjctl.models.check import CheckResult, CheckStatus, Severity

NAME = "deployment"


def half_made(environment: str, region: str, holder: Mapping[str, object] | None) -> CheckResult:
    """The result for a region that is half made.

    Args:
        holder: the run that works on the region now; None if the run was cut short.
    """
    if holder is not None:
        return CheckResult(
            NAME,
            region,
            CheckStatus.WARN,
            f"half made: `{holder.get('purpose')}` is at work on it",
            hint=f"wait for it; `mjctl status --env {environment} --region {region}` names who runs it",
            severity=Severity.MAJOR,
        )
    return CheckResult(
        NAME,
        region,
        CheckStatus.FAIL,
        "half made: the last deploy was cut short",
        hint=f"`mjctl deploy --env {environment} --region {region}` finishes it",
        severity=Severity.MAJOR,
    )
