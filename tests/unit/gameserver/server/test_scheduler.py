from __future__ import annotations

import asyncio
import time

import pytest

from gameserver.server.metrics import Metrics
from gameserver.server.scheduler import TickScheduler


class Room:
    def __init__(self, block_seconds: float = 0.0) -> None:
        self.ticks: list[float] = []
        self.block_seconds = block_seconds

    def tick(self, now_ms: int) -> None:
        assert now_ms > 0
        self.ticks.append(asyncio.get_running_loop().time())
        time.sleep(self.block_seconds)


@pytest.fixture
async def scheduler() -> TickScheduler:
    return TickScheduler(50, Metrics())


async def _until(rooms: list[Room], ticks: int) -> None:
    async with asyncio.timeout(10):
        while min(len(room.ticks) for room in rooms) < ticks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_rooms_tick_until_they_are_removed(scheduler: TickScheduler) -> None:
    first, second = Room(), Room()
    scheduler.add(first)
    scheduler.add(second)
    await _until([first, second], 5)
    scheduler.remove(first)
    ticks = len(first.ticks)
    await _until([second], len(second.ticks) + 5)
    assert len(first.ticks) == ticks
    scheduler.close()
    ticks = len(second.ticks)
    await asyncio.sleep(0.1)
    assert len(second.ticks) == ticks


async def test_rooms_are_spread_evenly_over_the_phases(scheduler: TickScheduler) -> None:
    rooms = [Room() for _ in range(30)]
    for room in rooms:
        scheduler.add(room)
    assert [len(phase.rooms) for phase in scheduler._phases] == [3] * 10
    scheduler.close()


async def test_a_phase_that_was_empty_starts_again(scheduler: TickScheduler) -> None:
    room = Room()
    scheduler.add(room)
    await _until([room], 2)
    scheduler.remove(room)
    await asyncio.sleep(0.06)
    other = Room()
    scheduler.add(other)
    await _until([other], 2)
    scheduler.close()


async def test_deadlines_stay_on_the_grid_and_missed_ones_are_counted() -> None:
    metrics = Metrics()
    scheduler = TickScheduler(50, metrics)
    slow = Room(block_seconds=0.05)
    scheduler.add(slow)
    await _until([slow], 4)
    deadline = next(phase for phase in scheduler._phases if phase.rooms).deadline
    scheduler.close()
    assert metrics.ticks_missed >= 6
    assert (deadline - scheduler._epoch) * 50 == pytest.approx(round((deadline - scheduler._epoch) * 50), abs=1e-6)
    assert metrics.lateness_ms(1.0) >= metrics.lateness_ms(0.5) >= 0
