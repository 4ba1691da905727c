"""Reports that this game server is alive, and adopts matches that no longer have an owner."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Set
from typing import Final

import msgspec
import structlog
from redis.exceptions import RedisError

from gameserver.cluster.departures import Departures
from gameserver.cluster.directory import Directory, ServerInfo
from gameserver.cluster.lease import LeaseHeld, Leases, NoSuchMatch
from gameserver.match import MatchSpec
from gameserver.server.host import MatchHost, NoEpochError, UnplayableError

log = structlog.get_logger()

_BEAT_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 0.25
_SWEEP_LIMIT: Final = 64
"""Most matches that a server adopts in one sweep, so that the other servers adopt a part of them."""

_FRESH_SECONDS: Final = 5.0
"""Time after the creation or the hand-over of a match in which other servers leave the match to the server that was
chosen for it."""

_ADOPTING_AT_ONCE: Final = 8
_NO_EPOCH_SECONDS: Final = 2.0
"""Pause between two attempts to adopt a match of which DynamoDB gives no epoch."""


class Heartbeat:
    """Runs the heartbeat and the sweep of one server.

    The heartbeat reports that this server is alive. The sweep adopts matches whose owner no longer reports.

    Args:
        host: the matches of this server.
        directory: the live servers and the matches of the region.
        leases: the leases of this server.
        lease_seconds: length of a match's lease in seconds, from which the sweep derives when an owner is late.
        drain_asked: function that returns whether an operator has asked this server to drain.
        departures: function that returns the servers that ECS stops or will stop soon.

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
        departures: Callable[[], Awaitable[Departures]],
    ) -> None:
        self._host = host
        self._directory = directory
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._drain_asked = drain_asked
        self._departures = departures
        self._is_stopped_by_ecs = False
        self._stopping: Set[str] = frozenset()
        # The sweep tries to adopt a match after the match's owner has missed two heartbeats. Only the lease decides
        # whether the match can be adopted, so an attempt that comes too early is refused and does no harm.
        self._stale_seconds = max(2 * _BEAT_SECONDS, lease_seconds - _BEAT_SECONDS)
        self._not_before: dict[str, float] = {}
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
        """Send one heartbeat, read the list of the other servers, and drain if an operator or ECS asks for it.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        host = self._host
        departures = await self._departures()
        self._stopping = departures.stopping
        # ECS never takes a stop back, but the record of departing servers expires.
        self._is_stopped_by_ecs |= host.identity.server_id in departures.stopping
        host.outdated = host.identity.server_id in departures.outdated
        drain_asked = self._is_stopped_by_ecs or await self._drain_asked()
        if drain_asked and not host.draining:
            log.info("draining", matches=len(host.rooms), players=host.players, by_ecs=self._is_stopped_by_ecs)
            host.draining = True
        await self._directory.heartbeat(host.info())
        await self._leases.touch(list(host.rooms))
        await host.list_open_matches()
        servers = await self._directory.servers()
        host.links.see([s for s in servers if s.id != host.identity.server_id])
        host.see_others(self._others(servers, departures))
        self.last_beat = time.monotonic()
        if drain_asked and host.rooms:
            await host.hand_over()
        if self._is_stopped_by_ecs:
            # The load balancer sends this server no more connections, so a relayed player does not come back here.
            # After an operator's request to drain, players come back until the load balancer notices the drain.
            host.redirect_relayed()

    def _others(self, servers: list[ServerInfo], departures: Departures) -> list[ServerInfo]:
        """Return the servers that can take matches. The record of departing servers can be newer than their entries."""
        others = [
            msgspec.structs.replace(server, outdated=server.outdated or server.id in departures.outdated)
            for server in servers
            if server.id != self._host.identity.server_id
            and not server.draining
            and server.id not in departures.stopping
        ]
        return sorted(others, key=lambda server: server.outdated)

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
        now = time.monotonic()
        self._not_before = {match_id: until for match_id, until in self._not_before.items() if until > now}
        unowned = (match_id for match_id in stale if match_id not in self._not_before)
        orphans = [match_id for match_id in unowned if match_id not in self._host.rooms]
        if not orphans:
            return
        # The list of the last heartbeat may not contain a successor that has just started.
        servers = {server.id for server in await self._directory.servers() if not server.draining} - self._stopping
        mine = []
        for match_id, spec in zip(orphans, await self._directory.specs(orphans), strict=True):
            if spec is None:
                await self._directory.forget(match_id)
            elif self._wanted(spec, servers):
                mine.append(match_id)
        # The order of the matches is random, so that servers which sweep at the same time begin with different matches.
        random.shuffle(mine)
        gate = asyncio.Semaphore(_ADOPTING_AT_ONCE)
        await asyncio.gather(*(self._adopt(match_id, gate) for match_id in mine))

    def _wanted(self, spec: MatchSpec, servers: Set[str]) -> bool:
        """Return whether this server may adopt an orphan: it was chosen, or the chosen server had enough time."""
        if spec.server_id == self._host.identity.server_id:
            return True
        meant_since_ms = max(spec.created_at_ms, spec.moved_at_ms)
        fresh = time.time() * 1000 - meant_since_ms < _FRESH_SECONDS * 1000
        return not (fresh and spec.server_id in servers)

    async def _adopt(self, match_id: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            if match_id in self._host.rooms:
                return
            try:
                await self._host.adopt(match_id)
            except NoEpochError:
                self._not_before[match_id] = time.monotonic() + _NO_EPOCH_SECONDS
            except (LeaseHeld, NoSuchMatch, UnplayableError):
                return
