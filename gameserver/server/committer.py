"""Stores the events and snapshots of the rooms in Redis. Up to 64 rooms that have something to store share one round
trip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gameserver.cluster.store import Commit, CommitStatus, MatchStore
from gameserver.server.metrics import Metrics
from gameserver.server.room import Room

_ROUND_SECONDS: Final = 0.05
_CHUNK: Final = 64
"""Largest number of rooms in one call to Redis. The number bounds how long a call keeps Redis and the event loop
busy."""

_RETRY_SECONDS: Final = 0.1


class Committer:
    """Writes the rooms of this server to Redis, with one write at a time.

    Args:
        store: writes to Redis.
        rooms: returns the rooms of this server.
        fenced: called with a room whose match another server owns now.
        forgotten: called with a room whose match Redis has lost.
        metrics: counts writes and failures.
    """

    def __init__(
        self,
        store: MatchStore,
        rooms: Callable[[], Iterable[Room]],
        fenced: Callable[[Room], None],
        forgotten: Callable[[Room], None],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._fenced = fenced
        self._forgotten = forgotten
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._busy = asyncio.Lock()

    def wake(self) -> None:
        """Start the next round at once, because a client waits for a write."""
        self._wake.set()

    async def run(self) -> None:
        """Store the rooms that are due, round after round, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_ROUND_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            now = time.monotonic()
            due = [room for room in self._rooms() if room.due(now)]
            if not await self.commit(due):
                await asyncio.sleep(_RETRY_SECONDS)

    async def commit(self, rooms: Sequence[Room], *, final: bool = False) -> bool:
        """Store `rooms` in Redis now, without waiting for the next round.

        Args:
            rooms: the rooms to store.
            final: True to store a snapshot of each room, even if none is due.

        Returns:
            False if a room could not be stored and no other server owns the room's match.
        """
        fine = True
        async with self._busy:
            for start in range(0, len(rooms), _CHUNK):
                fine &= await self._commit(rooms[start : start + _CHUNK], final)
        return fine

    async def _commit(self, rooms: Sequence[Room], final: bool) -> bool:
        started = time.monotonic()
        prepared: list[tuple[Room, Commit]] = [(room, room.prepare(started, final=final)) for room in rooms]
        outcomes = await self._store.commit([commit for _, commit in prepared])
        self._metrics.commits += len(prepared)
        self._metrics.commit_seconds += time.monotonic() - started
        for (room, commit), outcome in zip(prepared, outcomes, strict=True):
            if outcome is CommitStatus.STORED:
                # Redis renewed the match's lease when it ran the commit, which was after `started`. The lease lasts at
                # least until `started` plus the length of a lease.
                room.stored(commit, started)
            elif outcome is CommitStatus.FENCED:
                self._fenced(room)
            else:
                self._metrics.commit_failures += 1
                room.not_stored()
                if outcome is CommitStatus.FORGOTTEN:
                    self._forgotten(room)
        return all(outcome in (CommitStatus.STORED, CommitStatus.FENCED) for outcome in outcomes)
