"""What a server does for the region besides its own matches: says that it lives, and adopts what nobody looks after."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from redis.exceptions import RedisError

from gameserver.cluster.directory import Directory
from gameserver.cluster.lease import LeaseHeld, Leases, NoSuchMatch
from gameserver.server.host import MatchHost, UnplayableError

log = structlog.get_logger()

_BEAT_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 0.25
_SWEEP_LIMIT: Final = 64
"""Matches adopted in one sweep at most: the others leave some for each other."""

_FRESH_SECONDS: Final = 5.0
"""A match that has never had an owner is left to the server it was meant for, for this long."""

_ADOPTING_AT_ONCE: Final = 8


class Heartbeat:
    """Heartbeat and sweep of one server.

    Args:
        drain_asked: whether an operator wants this server to hand its matches over and to take no more.

    Attributes:
        last_beat: time.monotonic() of the last heartbeat that Redis took; 0 before the first.
    """

    def __init__(
        self,
        host: MatchHost,
        directory: Directory,
        leases: Leases,
        lease_seconds: float,
        drain_asked: Callable[[], Awaitable[bool]],
    ) -> None:
        self._host = host
        self._directory = directory
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._drain_asked = drain_asked
        # Missed twice: its owner is late. Only the lease decides; a hint too early costs one refused attempt.
        self._stale_seconds = max(2 * _BEAT_SECONDS, lease_seconds - _BEAT_SECONDS)
        self.last_beat = 0.0

    async def beat(self) -> None:
        """Heartbeat until cancelled."""
        while True:
            try:
                await self.beat_once()
            except RedisError as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
            await asyncio.sleep(_BEAT_SECONDS)

    async def beat_once(self) -> None:
        """Raises: redis.exceptions.RedisError."""
        host = self._host
        asked = await self._drain_asked()
        if asked and not host.draining:
            log.info("draining", matches=len(host.rooms), players=host.players)
            host.draining = True
        await self._directory.heartbeat(host.info())
        await self._leases.touch(list(host.rooms))
        await host.list_open_matches()
        servers = await self._directory.servers()
        host.see_others([s for s in servers if s.id != host.identity.server_id and not s.draining])
        self.last_beat = time.monotonic()
        if asked and host.rooms:
            await host.hand_over()

    async def sweep(self) -> None:
        """Adopt orphans until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS * random.uniform(0.8, 1.2))
            if self._host.draining:
                continue
            try:
                await self._sweep_once()
            except RedisError as error:
                log.warning("sweep_failed", error=type(error).__name__)
                # Leases have run out while Redis was away; their owners, if they live, come first.
                await asyncio.sleep(self._lease_seconds)

    async def _sweep_once(self) -> None:
        stale = await self._leases.stale(self._stale_seconds, _SWEEP_LIMIT)
        orphans = [match_id for match_id in stale if match_id not in self._host.rooms]
        if not orphans:
            return
        mine = []
        for match_id, spec in zip(orphans, await self._directory.specs(orphans), strict=True):
            if spec is None:
                await self._directory.forget(match_id)
            elif self._wanted(spec.server_id, spec.created_at_ms):
                mine.append(match_id)
        # Several servers sweep at once: each begins elsewhere in the list.
        random.shuffle(mine)
        gate = asyncio.Semaphore(_ADOPTING_AT_ONCE)
        await asyncio.gather(*(self._adopt(match_id, gate) for match_id in mine))

    def _wanted(self, meant_for: str, created_at_ms: int) -> bool:
        host = self._host
        if meant_for == host.identity.server_id:
            return True
        fresh = time.time() * 1000 - created_at_ms < _FRESH_SECONDS * 1000
        return not (fresh and any(server.id == meant_for for server in host.others))

    async def _adopt(self, match_id: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            if match_id in self._host.rooms:
                return
            try:
                await self._host.adopt(match_id)
            except (LeaseHeld, NoSuchMatch, UnplayableError):
                return
