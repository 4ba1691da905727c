"""The health gate: a region that was changed is watched before anything else is changed.

What counts as evidence of a look:
    A failed check counts against the region; `max_failures` of them are allowed.
    A skipped check counts neither way: its part serves no one by design, e.g. the API on an emulated AWS.
    A check that AWS throttled counts neither way, and its part may be broken.

A look is good if no more than `max_failures` checks failed, at least one critical check was observed, and no critical
check was throttled. A look that is neither good nor bad proves nothing, so it is repeated. A region that cannot be
observed in several looks in a row is not healthy.
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

# Fail only after two consecutive bad looks, so that one transient error does not reject a region.
_LOOKS_IN_A_ROW = 2
# With the pauses doubled from one look to the next, AWS has half a minute to stop throttling.
_UNPROVEN_IN_A_ROW = 5
_PAUSE_SECONDS = 2.0
_SHOWN = 5

CheckRegion = Callable[[str], Awaitable[Sequence[CheckResult]]]
"""Runs every check of one region once. It raises MjctlError if the region cannot be observed."""


@dataclass(frozen=True)
class Gate:
    """`soak_seconds`: how long a region is watched, at least one look; `max_failures`: failing checks that one look
    may have and still count as healthy."""

    check: CheckRegion
    soak_seconds: float = 0.0
    max_failures: int = 0

    async def watch(self, region: str, say: Callable[[str], None], cancellation: Cancellation) -> GateVerdict:
        """Look until the soak time is over and the last look was good, or until the region is not healthy.

        Raises:
            Interrupted: the run was cancelled meanwhile.
        """
        started = time.monotonic()
        looks, bad, unproven = 0, 0, 0
        while True:
            results = await _unless_cancelled(self.check(region), region, cancellation)
            looks += 1
            seconds = time.monotonic() - started
            failed = [check for check in results if check.status is CheckStatus.FAIL]
            missing = _missing_evidence(results)
            observed = sum(check.observed for check in results)
            if len(failed) > self.max_failures:
                bad, unproven = bad + 1, 0
                failing = tuple(f"{check.name}: {check.summary}" for check in failed[:_SHOWN])
                say(f"look {looks}: {len(failed)} of {observed} observed checks fail: {failing[0]}")
                if bad >= _LOOKS_IN_A_ROW:
                    return GateVerdict(False, looks, seconds, failing)
            elif missing:
                # Bad looks before and after this one still follow each other: `bad` is kept.
                unproven += 1
                say(f"look {looks} proves nothing: {missing[0]}")
                if unproven >= _UNPROVEN_IN_A_ROW:
                    return GateVerdict(False, looks, seconds, missing)
            else:
                bad = unproven = 0
                say(f"look {looks}: {observed - len(failed)} of {observed} observed checks are good")
                if seconds >= self.soak_seconds:
                    return GateVerdict(True, looks, seconds)
            left = self.soak_seconds - seconds
            pause = _PAUSE_SECONDS if bad or unproven else min(_PAUSE_SECONDS, max(0.0, left))
            await _unless_cancelled(asyncio.sleep(pause * 2 ** max(0, unproven - 1), ()), region, cancellation)


def _missing_evidence(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Say why these results cannot prove that the region is healthy; () if they can."""
    critical = [check for check in results if check.severity is Severity.CRITICAL]
    throttled = [check for check in critical if not check.observed and check.status is not CheckStatus.SKIP]
    if throttled:
        return tuple(f"{check.name}: {check.summary}" for check in throttled[:_SHOWN])
    if any(check.observed for check in critical):
        return ()
    return (f"none of {len(critical)} critical checks was observed: all were skipped",)


async def _unless_cancelled(
    work: Awaitable[Sequence[CheckResult]], region: str, cancellation: Cancellation
) -> Sequence[CheckResult]:
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(cancellation.event.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Interrupted("stopped while the health of the region was watched", where=f"region {region}")
        return task.result()
    finally:
        for one in (task, stop):
            one.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)
