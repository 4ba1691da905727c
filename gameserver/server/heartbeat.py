"""Reports that this game server is alive, and adopts matches that no longer have an owner."""

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
"""Most matches that a server adopts in one sweep, so that the other servers adopt a part of them."""

_FRESH_SECONDS: Final = 5.0
"""Time after the creation of a match in which other servers leave the match to the server that the API chose for it."""

_ADOPTING_AT_ONCE: Final = 8


class Heartbeat:
    """Runs the heartbeat and the sweep of one server.

    The heartbeat reports that this server is alive. The sweep adopts matches whose owner no longer reports.

    Args:
        host: the matches of this server.
        directory: the live servers and the matches of the region.
        leases: the leases of this server.
        lease_seconds: length of a match's lease in seconds, from which the sweep derives when an owner is late.
        drain_asked: function that returns whether an operator has asked this server to drain.

    Attributes:
        last_beat: time.monotonic() of the last heartbeat that Redis stored; 0 before the first heartbeat.
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
        # The sweep tries to adopt a match after the match's owner has missed two heartbeats. Only the lease decides
        # whether the match can be adopted, so an attempt that comes too early is refused and does no harm.
        self._stale_seconds = max(2 * _BEAT_SECONDS, lease_seconds - _BEAT_SECONDS)
        self.last_beat = 0.0

    async def beat(self) -> None:
        """Send heartbeats until cancelled. A heartbeat that fails is logged and repeated."""
        while True:
            try:
                await self.beat_once()
            except RedisError as error:
                log.warning("heartbeat_failed", error=type(error).__name__)
            await asyncio.sleep(_BEAT_SECONDS)

    async def beat_once(self) -> None:
        """Send one heartbeat, read the list of the other servers, and drain if an operator has asked for it.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        host = self._host
        drain_asked = await self._drain_asked()
        if drain_asked and not host.draining:
            log.info("draining", matches=len(host.rooms), players=host.players)
            host.draining = True
        await self._directory.heartbeat(host.info())
        await self._leases.touch(list(host.rooms))
        await host.list_open_matches()
        servers = await self._directory.servers()
        host.links.see([s for s in servers if s.id != host.identity.server_id])
        host.see_others([s for s in servers if s.id != host.identity.server_id and not s.draining])
        self.last_beat = time.monotonic()
        if drain_asked and host.rooms:
            await host.hand_over()

    async def sweep(self) -> None:
        """Adopt matches without an owner until cancelled. A draining server adopts no matches."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS * random.uniform(0.8, 1.2))
            if self._host.draining:
                continue
            try:
                await self._sweep_once()
            except RedisError as error:
                log.warning("sweep_failed", error=type(error).__name__)
                # While Redis is unavailable, the leases of living owners expire too. The sweep waits for the length of
                # a lease, so that these owners renew their leases before the sweep adopts their matches.
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
        # The order of the matches is random, so that servers which sweep at the same time begin with different matches.
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
