"""Runs the tick of every room at the tick rate, on absolute deadlines.

The rooms are spread evenly over the interval between two ticks.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from gameserver.server.metrics import Metrics

_PHASES: Final = 10
"""Number of groups of rooms. Each group ticks at its own moment of the interval between two ticks, so that the server
does not send all frames at once and does not need a timer for each room."""


class Ticking(Protocol):
    """Lists the method of a room that the scheduler calls."""

    def tick(self, now_ms: int) -> None: ...


class _Phase:
    def __init__(self, offset: float) -> None:
        self.offset = offset
        self.rooms: list[Ticking] = []
        self.deadline = 0.0
        self.timer: asyncio.TimerHandle | None = None


class TickScheduler:
    """Calls the `tick` of each room at fixed deadlines.

    The n-th tick is due at start + n * interval, however late the tick before it was, so deadlines never drift. A
    server that is too slow skips ticks and counts them, so that its delay does not grow.

    Args:
        tick_rate_hz: ticks in a second.
        metrics: counts ticks, skipped ticks and their delays.
    """

    def __init__(self, tick_rate_hz: int, metrics: Metrics) -> None:
        self._interval = 1.0 / tick_rate_hz
        self._metrics = metrics
        self._phases = [_Phase(index * self._interval / _PHASES) for index in range(_PHASES)]
        self._loop = asyncio.get_running_loop()
        self._epoch = self._loop.time()

    def add(self, room: Ticking) -> None:
        """Tick `room` from now on, together with the smallest group of rooms."""
        phase = min(self._phases, key=lambda candidate: len(candidate.rooms))
        phase.rooms.append(room)
        if phase.timer is None:
            behind = self._loop.time() - self._epoch - phase.offset
            phase.deadline = self._epoch + phase.offset + (behind // self._interval + 1) * self._interval
            phase.timer = self._loop.call_at(phase.deadline, self._fire, phase)

    def remove(self, room: Ticking) -> None:
        """Stop ticking `room`."""
        for phase in self._phases:
            if room in phase.rooms:
                phase.rooms.remove(room)

    def close(self) -> None:
        """Stop ticking all rooms."""
        for phase in self._phases:
            phase.rooms.clear()
            if phase.timer is not None:
                phase.timer.cancel()
                phase.timer = None

    def _fire(self, phase: _Phase) -> None:
        if not phase.rooms:
            phase.timer = None
            return
        late = self._loop.time() - phase.deadline
        self._metrics.lateness.append(max(0.0, late))
        self._metrics.ticks += 1
        now_ms = time.time_ns() // 1_000_000
        for room in tuple(phase.rooms):
            room.tick(now_ms)
        phase.deadline += self._interval
        behind = self._loop.time() - phase.deadline
        if behind > 0:
            missed = int(behind / self._interval) + 1
            phase.deadline += missed * self._interval
            self._metrics.ticks_missed += missed
        phase.timer = self._loop.call_at(phase.deadline, self._fire, phase)
