"""Where things are: live servers, matches, free seats. Read by the API and by every game server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.scripts import Script
from gameserver.match import MatchSpec, open_list

ALIVE_SECONDS = 2.0
"""A server whose last heartbeat is older than this counts as dead."""

_PROMISE_SECONDS = 4.5
"""How long a seat is kept for a player who is on the way. A player who never arrives blocks it for less than 5 s."""

_OPEN_CANDIDATES = 8
_OPEN_ATTEMPTS = 16
"""Open matches that `create_unless_open` tries before it opens one more: each costs a few round trips."""

_PICK_MEMORY_SECONDS = 1.0
"""How long a server's heartbeat may lag behind the matches that were just sent to it."""

# KEYS a ZSET; ARGV member. The score is Redis's clock, so that servers with wrong clocks agree.
_STAMP = Script("""
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
""")

_ALIVE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
return redis.call('ZRANGE', KEYS[1], now - ARGV[1], '+inf', 'BYSCORE')
""")

# KEYS seats spec; ARGV promise id, promise ms, key ttl s. 1: a seat is promised.
_PROMISE = Script("""
local spec = redis.call('GET', KEYS[2])
if not spec then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local busy = 0
local fields = redis.call('HGETALL', KEYS[1])
for index = 1, #fields, 2 do
  if fields[index] == 'taken' then busy = busy + tonumber(fields[index + 1])
  elseif tonumber(fields[index + 1]) < now then redis.call('HDEL', KEYS[1], fields[index])
  else busy = busy + 1 end
end
if busy >= cjson.decode(spec).seats then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], now + ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
""")


# KEYS open matches of a mode; ARGV match id, creation time in ms, ids of matches without a free seat. Lists the match,
# unless another one is open: then the newest of those is returned, which is the one most likely to have a free seat.
_LIST_UNLESS_OPEN = Script("""
local full = {}
for index = 3, #ARGV do full[ARGV[index]] = true end
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, 255, 'REV')) do
  if id ~= ARGV[1] and not full[id] then return id end
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return ARGV[1]
""")


class ServerInfo(msgspec.Struct, frozen=True):
    """A live game server as it described itself. `url`: where players connect; `private_url`: where servers do."""

    id: str
    zone: str
    url: str
    players: int
    matches: int
    max_players: int
    draining: bool
    private_url: str = ""

    @property
    def load(self) -> float:
        return self.players / max(1, self.max_players)


class Directory:
    """One process's view of the region. Methods raise redis.exceptions.RedisError when Redis does not answer.

    Args:
        redis: a client that returns bytes (`decode_responses=False`).
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._recent_picks: list[tuple[float, str, int]] = []

    async def servers(self, heard_within_seconds: float = ALIVE_SECONDS) -> list[ServerInfo]:
        """Servers alive now: those that take matches first, the least loaded first."""
        ids = await _ALIVE.run(self._redis, [keys.SERVERS], round(heard_within_seconds * 1000))
        raw = await self._get_each([keys.server(server_id.decode()) for server_id in ids])
        found = [msgspec.json.decode(info, type=ServerInfo) for info in raw if info is not None]
        return sorted(found, key=lambda server: (server.draining, server.load, server.id))

    async def pick_server(self, seats: int) -> ServerInfo | None:
        """The least loaded server with room for `seats` more players; None if the region is full.

        Picks of the last moment count as load, since the servers' own reports lag behind them.
        """
        now = time.monotonic()
        self._recent_picks = [pick for pick in self._recent_picks if now - pick[0] < _PICK_MEMORY_SECONDS]
        servers = await self.servers()
        expected = {server.id: server.players for server in servers}
        for _, server_id, promised in self._recent_picks:
            expected[server_id] = expected.get(server_id, 0) + promised
        fitting = [
            server for server in servers if not server.draining and expected[server.id] + seats <= server.max_players
        ]
        if not fitting:
            return None
        best = min(fitting, key=lambda server: (expected[server.id] / server.max_players, server.id))
        self._recent_picks.append((now, best.id, seats))
        return best

    def unpick(self, server: ServerInfo, seats: int) -> None:
        """Take back a pick that came to nothing, so that it does not count as load."""
        for pick in reversed(self._recent_picks):
            if pick[1:] == (server.id, seats):
                self._recent_picks.remove(pick)
                return

    async def create_match(self, spec: MatchSpec) -> None:
        """Make the match known; its server adopts it when the first player comes, or by itself soon after."""
        await self._prepare(spec)
        if spec.seats > 1:
            await self._redis.zadd(keys.open_matches(spec.open_list), {spec.match_id: spec.created_at_ms})

    async def create_unless_open(self, spec: MatchSpec) -> tuple[MatchSpec, ServerInfo] | None:
        """Make the match known, unless another one of its mode has a free seat: then keep that seat instead.

        Returns the other match and its server, or None. Many callers at the same moment, in any number of processes,
        so fill one match after the other. A new match keeps a seat for the caller.
        """
        await self._prepare(spec)
        await self._promise(spec.match_id)
        full: list[str] = []
        while spec.seats > 1 and len(full) < _OPEN_ATTEMPTS:
            listed = await _LIST_UNLESS_OPEN.run(
                self._redis, [keys.open_matches(spec.open_list)], spec.match_id, spec.created_at_ms, *full
            )
            candidate = _text(listed)
            if candidate == spec.match_id:
                return None
            joined = await self._take_seat(spec.open_list, candidate)
            if joined is not None:
                await self.forget(spec.match_id)
                await self._redis.delete(keys.spec(spec.match_id), keys.seats(spec.match_id))
                return joined
            full.append(candidate)
        if spec.seats > 1:
            await self.open_seats(spec.open_list, spec.match_id, spec.created_at_ms)
        return None

    async def find_open(self, mode: str, *, internal: bool = False) -> tuple[MatchSpec, ServerInfo] | None:
        """A match with a free seat and a live owner, the oldest first. The seat is kept for a few seconds."""
        name = open_list(mode, internal=internal)
        ids = await self._redis.zrange(keys.open_matches(name), 0, _OPEN_CANDIDATES - 1)
        for match_id in map(_text, ids):
            joined = await self._take_seat(name, match_id)
            if joined is not None:
                return joined
        return None

    async def locate(self, match_id: str) -> tuple[MatchSpec, ServerInfo | None] | None:
        """The match and where to play it: its owner, else the server it was meant for, else the least loaded one.

        None: no such match (any more). `(spec, None)`: no server is alive.
        """
        raw_spec, raw_lease = await self._get_each([keys.spec(match_id), keys.lease(match_id)])
        if raw_spec is None:
            return None
        spec = msgspec.json.decode(raw_spec, type=MatchSpec)
        servers = {server.id: server for server in await self.servers()}
        owner = raw_lease.decode().rpartition(":")[0] if raw_lease is not None else ""
        meant = servers.get(spec.server_id)
        if meant is not None and meant.draining:
            meant = None
        return spec, servers.get(owner) or meant or next(iter(servers.values()), None)

    async def owner(self, match_id: str) -> str | None:
        """Id of the server that holds the lease now, alive or not yet known to be dead."""
        raw = await self._redis.get(keys.lease(match_id))
        return None if raw is None else _text(raw).rpartition(":")[0]

    async def specs(self, match_ids: Sequence[str]) -> list[MatchSpec | None]:
        """Many specs in one round trip."""
        raw = await self._get_each([keys.spec(match_id) for match_id in match_ids])
        return [None if spec is None else msgspec.json.decode(spec, type=MatchSpec) for spec in raw]

    async def heartbeat(self, info: ServerInfo) -> None:
        """Say that this server is alive, and what it carries."""
        await self._redis.set(keys.server(info.id), msgspec.json.encode(info), px=round(ALIVE_SECONDS * 2000))
        await _STAMP.run(self._redis, [keys.SERVERS], info.id)

    async def deregister(self, server_id: str) -> None:
        await self._redis.zrem(keys.SERVERS, server_id)
        await self._redis.delete(keys.server(server_id))

    async def close_seats(self, open_list_name: str, match_id: str) -> None:
        """The match takes no more players."""
        await self._redis.zrem(keys.open_matches(open_list_name), match_id)

    async def open_seats(self, open_list_name: str, match_id: str, created_at_ms: int) -> None:
        """A seat of the match has become free again."""
        await self._redis.zadd(keys.open_matches(open_list_name), {match_id: created_at_ms})

    async def forget(self, match_id: str) -> None:
        """Drop the entry of a match whose keys are gone."""
        await self._redis.zrem(keys.ACTIVE_MATCHES, match_id)

    async def active_matches(self) -> list[str]:
        """Ids of all matches that have not been finished yet; for operators and tests."""
        return [_text(match_id) for match_id in await self._redis.zrange(keys.ACTIVE_MATCHES, 0, -1)]

    async def _prepare(self, spec: MatchSpec) -> None:
        await self._redis.set(keys.spec(spec.match_id), msgspec.json.encode(spec), ex=keys.MATCH_TTL_SECONDS)
        await _STAMP.run(self._redis, [keys.ACTIVE_MATCHES], spec.match_id)

    async def _take_seat(self, open_list_name: str, match_id: str) -> tuple[MatchSpec, ServerInfo] | None:
        """Keep a seat of the match, if one is free and a server is alive."""
        located = await self.locate(match_id)
        if located is None:
            await self.close_seats(open_list_name, match_id)
        elif located[1] is not None and await self._promise(match_id):
            return located[0], located[1]
        return None

    async def _promise(self, match_id: str) -> bool:
        promised = await _PROMISE.run(
            self._redis, [keys.seats(match_id), keys.spec(match_id)],
            secrets.token_hex(8), round(_PROMISE_SECONDS * 1000), keys.MATCH_TTL_SECONDS,
        )  # fmt: skip
        return bool(promised == 1)

    async def _get_each(self, names: Sequence[str]) -> list[bytes | None]:
        """GETs in one round trip; not MGET, whose keys would have to share a cluster slot."""
        if not names:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        values: list[bytes | None] = await pipeline.execute()
        return values


def _text(raw: Any) -> str:
    """redis-py types every answer as anything; ours are bytes."""
    return str(raw, "ascii")
