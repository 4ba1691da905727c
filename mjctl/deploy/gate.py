"""The health gate: a region that was changed is watched before anything else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.deployment import Verdict
from mjctl.models.errors import Interrupted
from mjctl.terraform.runner import Cancellation

# One look can meet a passing disturbance; two in a row are a state.
_LOOKS_IN_A_ROW = 2
_PAUSE_SECONDS = 2.0
_SHOWN = 5

Look = Callable[[str], Awaitable[Sequence[CheckResult]]]
"""Every check of one region, run once. A region that cannot be looked at raises MjctlError."""


@dataclass(frozen=True)
class Gate:
    """`soak_seconds`: how long a region is watched, at least one look; `max_failures`: failing checks that one look
    may have and still count as healthy."""

    look: Look
    soak_seconds: float = 0.0
    max_failures: int = 0

    async def watch(self, region: str, say: Callable[[str], None], cancellation: Cancellation) -> Verdict:
        """Look again and again until the soak time is over, or two looks in a row have failed.

        Raises:
            Interrupted: the run was cancelled meanwhile.
        """
        started = time.monotonic()
        looks, in_a_row = 0, 0
        failing: tuple[str, ...] = ()
        while True:
            results = await _unless_cancelled(self.look(region), region, cancellation)
            looks += 1
            found = [one for one in results if one.status is CheckStatus.FAIL]
            seconds = time.monotonic() - started
            if len(found) > self.max_failures:
                in_a_row += 1
                failing = tuple(f"{one.name}: {one.summary}" for one in found[:_SHOWN])
                say(f"look {looks}: {len(found)} of {len(results)} checks fail: {failing[0]}")
                if in_a_row >= _LOOKS_IN_A_ROW:
                    return Verdict(False, looks, seconds, failing)
            else:
                in_a_row = 0
                say(f"look {looks}: {len(results) - len(found)} of {len(results)} checks are well")
                if seconds >= self.soak_seconds:
                    return Verdict(True, looks, seconds)
            left = self.soak_seconds - seconds
            pause = _PAUSE_SECONDS if in_a_row else min(_PAUSE_SECONDS, max(0.0, left))
            await _unless_cancelled(asyncio.sleep(pause, ()), region, cancellation)


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
