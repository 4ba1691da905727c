"""A load test over regions: play, stop cleanly when asked, look, report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping

from mjctl.clients.regions import RegionOutcome, in_each_region
from mjctl.loadtest.model import LoadPlan, LoadReport, LoadTally
from mjctl.loadtest.players import play
from mjctl.loadtest.verify import verify
from mjctl.models.contract import Contract

# After Ctrl-C somebody waits for the prompt.
_SETTLE_SECONDS_AFTER_INTERRUPT = 5.0
_PROGRESS_INTERVAL_SECONDS = 0.5


async def run_loadtest(
    contracts: Mapping[str, Contract], plan: LoadPlan, *, on_progress: Callable[[Mapping[str, LoadTally]], None]
) -> list[RegionOutcome[LoadReport]]:
    """Run `plan` in every region at the same time; `on_progress` hears of the tallies twice a second.

    The first SIGINT or SIGTERM ends the play and goes on to a shortened look; the second cancels at once.
    """
    tallies = {region: LoadTally() for region in contracts}
    stop = asyncio.Event()

    async def one(contract: Contract) -> LoadReport:
        tally = tallies[contract.region]
        await play(contract, plan, tally, stop)
        tally.interrupted = stop.is_set()
        if not (tally.ended if tally.interrupted else tally.started):
            return LoadReport(contract.region, plan, tally, None)
        settle = _SETTLE_SECONDS_AFTER_INTERRUPT if tally.interrupted else plan.settle_seconds
        return LoadReport(contract.region, plan, tally, await verify(contract, tally, settle_seconds=settle))

    with _stopped_by_signals(stop):
        watcher = asyncio.create_task(_report_progress(tallies, on_progress))
        try:
            return await in_each_region(contracts, one, concurrency=len(contracts))
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def heard() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, previous[number])


async def _report_progress(
    tallies: Mapping[str, LoadTally], on_progress: Callable[[Mapping[str, LoadTally]], None]
) -> None:
    while True:
        on_progress(tallies)
        await asyncio.sleep(_PROGRESS_INTERVAL_SECONDS)
