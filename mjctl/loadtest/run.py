"""Runs a load test in several regions: lets bots play, stops the bots at a signal, verifies the results and reports."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping

from mjctl.clients.regions import RegionOutcome, in_each_region
from mjctl.loadtest.model import LoadPlan, LoadReport, LoadTally
from mjctl.loadtest.players import playing
from mjctl.loadtest.verify import verify
from mjctl.models.contract import Contract

# After Ctrl-C an operator waits for the prompt, so mjctl waits only a short time for the stored results.
_SETTLE_SECONDS_AFTER_INTERRUPT = 5.0
_PROGRESS_INTERVAL_SECONDS = 0.5


async def run_loadtest(
    contracts: Mapping[str, Contract], plan: LoadPlan, *, on_progress: Callable[[Mapping[str, LoadTally]], None]
) -> list[RegionOutcome[LoadReport]]:
    """Run a load test in all regions at the same time.

    After the first SIGINT or SIGTERM the bots leave their matches, and mjctl waits only 5 seconds for the stored
    results. The second SIGINT or SIGTERM cancels the load test at once.

    Args:
        contracts: name of a region -> contract of the region.
        plan: the plan of the load test.
        on_progress: receives the counters by the name of the region, twice a second.

    Returns:
        For each region the report of its load test, or the error that ended it.
    """
    tallies = {region: LoadTally() for region in contracts}
    stop = asyncio.Event()

    async def run(contract: Contract) -> LoadReport:
        tally = tallies[contract.region]
        async with playing(contract, plan, tally, stop) as bots:
            tally.interrupted = stop.is_set()
            if not (tally.ended if tally.interrupted else tally.started):
                return LoadReport(contract.region, plan, tally, None)
            settle = _SETTLE_SECONDS_AFTER_INTERRUPT if tally.interrupted else plan.settle_seconds
            verification = await verify(contract, tally, bots, settle_seconds=settle)
        return LoadReport(contract.region, plan, tally, verification)

    with _stopped_by_signals(stop):
        watcher = asyncio.create_task(_report_progress(tallies, on_progress))
        try:
            return await in_each_region(contracts, run, concurrency=len(contracts))
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        loop.add_signal_handler(number, on_signal)
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
