"""The health gate: observes a changed region before a rollout changes the next regions.

An observation runs every health check of the region once. The results of the checks count as follows:

- A failed check counts against the region. An observation is bad if more than `max_failures` of its checks failed.
- A skipped check counts neither for nor against the region, because the region does not use the checked part, e.g. the
  API on an emulated AWS.
- A check that AWS throttled counts neither for nor against the region, because the check could not read the state of
  the checked part.

The gate calls an observation good if at most `max_failures` checks failed, at least one critical check ran, and AWS
throttled no critical check. An observation that is neither good nor bad proves nothing, and the gate observes the
region again. The gate finds a region unhealthy after two bad observations without a good observation between them, or
after five observations in a row that prove nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.deployment import GateVerdict
from mjctl.models.errors import Interrupted
from mjctl.terraform.runner import Cancellation

# Reject a region only after two bad observations without a good one between them, so that a single transient error does
# not stop a rollout.
_BAD_IN_A_ROW = 2
# The pause before the next observation doubles after each observation that proves nothing, so that five observations
# give AWS half a minute to stop throttling.
_UNPROVEN_IN_A_ROW = 5
_PAUSE_SECONDS = 2.0
# After an update, the first call of each function on AWS starts its process, and several first calls at once can exceed
# the time limits of the checks.
_PAUSE_AFTER_BAD_SECONDS = 10.0
_SHOWN = 5

CheckRegion = Callable[[str], Awaitable[Sequence[CheckResult]]]
"""Runs every health check of one region once. Raises MjctlError if the region cannot be observed."""


@dataclass(frozen=True)
class Gate:
    """Decides by repeated health checks whether a region is healthy.

    Attributes:
        check: Runs every health check of one region once.
        soak_seconds: The time in seconds for which the gate observes a region, with at least one observation.
        max_failures: The number of health checks that may fail in an observation that counts as good.
    """

    check: CheckRegion
    soak_seconds: float = 0.0
    max_failures: int = 0

    async def watch(self, region: str, say: Callable[[str], None], cancellation: Cancellation) -> GateVerdict:
        """Observe a region until the gate finds it healthy or unhealthy.

        The gate finds a region healthy at the first good observation after the soak time.

        Args:
            region: The name of the region.
            say: Receives one line about each observation, for the operator.
            cancellation: Stops the gate before it has found the region healthy or unhealthy.

        Raises:
            Interrupted: The operator stopped the run.
        """
        started = time.monotonic()
        observations, bad, unproven = 0, 0, 0
        while True:
            results = await _unless_cancelled(self.check(region), region, cancellation)
            observations += 1
            seconds = time.monotonic() - started
            failed = [check for check in results if check.status is CheckStatus.FAIL]
            missing = _missing_evidence(results)
            observed = sum(check.observed for check in results)
            if len(failed) > self.max_failures:
                bad, unproven = bad + 1, 0
                failing = tuple(f"{check.name}: {check.summary}" for check in failed[:_SHOWN])
                say(f"observation {observations}: {len(failed)} of {observed} observed checks fail: {failing[0]}")
                if bad >= _BAD_IN_A_ROW:
                    return GateVerdict(False, observations, seconds, failing)
            elif missing:
                # Do not reset the count `bad`: an observation that proves nothing between two bad observations does not
                # make the region healthy.
                unproven += 1
                say(f"observation {observations} proves nothing: {missing[0]}")
                if unproven >= _UNPROVEN_IN_A_ROW:
                    return GateVerdict(False, observations, seconds, missing)
            else:
                bad = unproven = 0
                say(f"observation {observations}: {observed - len(failed)} of {observed} observed checks pass")
                if seconds >= self.soak_seconds:
                    return GateVerdict(True, observations, seconds)
            left = self.soak_seconds - seconds
            if bad and not unproven:
                pause = _PAUSE_AFTER_BAD_SECONDS
            elif unproven:
                pause = _PAUSE_SECONDS * 2 ** (unproven - 1)
            else:
                pause = min(_PAUSE_SECONDS, max(0.0, left))
            await _unless_cancelled(asyncio.sleep(pause, ()), region, cancellation)


def _missing_evidence(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return the reasons why the check results do not prove that the region is healthy, or () if they prove it."""
    critical = [check for check in results if check.severity is Severity.CRITICAL]
    throttled = [check for check in critical if not check.observed and check.status is not CheckStatus.SKIP]
    if throttled:
        return tuple(f"{check.name}: {check.summary}" for check in throttled[:_SHOWN])
    if any(check.observed for check in critical):
        return ()
    return (f"none of the {len(critical)} critical checks was observed, because all of them were skipped",)


async def _unless_cancelled(
    work: Awaitable[Sequence[CheckResult]], region: str, cancellation: Cancellation
) -> Sequence[CheckResult]:
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(cancellation.event.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Interrupted("stopped while the gate observed the health of the region", where=f"region {region}")
        return task.result()
    finally:
        for waiting in (task, stop):
            waiting.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)
