"""The directory of a region: its live servers, its matches and their free seats.

The API and every game server read the directory.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.scripts import Script
from gameserver.match import MatchSpec, open_list
from gameserver.runtime.state_cluster import StateCluster, cluster_of

ALIVE_SECONDS = 2.0
"""Age of a server's last heartbeat above which the server counts as dead."""

_PROMISE_SECONDS = 4.5
"""Time for which a seat is kept for a player who is about to join. A player who never joins blocks the seat for less
than 5 s."""

_OPEN_CANDIDATES = 8
_OPEN_ATTEMPTS = 16
"""Number of open matches in which `create_unless_open` tries to keep a seat before it opens a further match. Each try
costs a few round trips to Redis."""

_PICK_MEMORY_SECONDS = 1.0
"""Time for which players count as load of the server that `pick_server` chose for them, because the server's next
heartbeat may not contain these players yet."""

# Sets the score of a member of a sorted set to the time of Redis's clock in ms since 1970, so that servers with wrong
# clocks agree.
#
# KEYS: the sorted set of game servers, or the sorted set of active matches.
# ARGV: the member, which is the id of a server or of a match.
_STAMP = Script("""
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
""")

# Lists the ids of the live game servers, and removes from the sorted set the servers whose last heartbeat is older than
# a minute.
#
# KEYS: the sorted set of game servers. The score of a server is the time of its last heartbeat in ms.
# ARGV: the age of its last heartbeat in ms above which a game server counts as dead.
_ALIVE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
return redis.call('ZRANGE', KEYS[1], now - ARGV[1], '+inf', 'BYSCORE')
""")

# Reserves a free seat of a match for a player who is about to join (a promise).
# Result: 1 if the script has reserved a seat for the player, 0 if the match has no free seat or does not exist.
#
# KEYS: the hash of the match's seats, and the JSON of the match's `MatchSpec`.
# ARGV: a new id for the reserved seat, the length of the reservation in ms, and the TTL of the hash of seats in s.
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


# Adds a match to the open matches of its mode, unless another match is open that is not known to be full.
# Result: the id of the added match, or the id of the newest other open match that is not known to be full. The newest
# match is the most likely to have a free seat.
#
# KEYS: the sorted set of the open matches of a mode. The score of a match is its creation time in ms since 1970.
# ARGV: the id of the match to add, its creation time in ms since 1970, and the ids of the matches that are known to be
# full.
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
    """Describes a live game server by its last heartbeat.

    Attributes:
        id: id of the server.
        zone: availability zone of the server.
        url: WebSocket address for players.
        players: number of players who are connected and have a seat.
        matches: number of matches that the server owns.
        max_players: number of players that the server can serve.
        draining: True if the server takes no new matches.
        private_url: WebSocket address for the other servers.
        certificate: certificate of the server in DER and base64, by which the servers authenticate each other; "" for
            a server that does not make its own certificate.
        outdated: True if ECS will stop the server soon, because servers of a newer deployment replace it.
        without_epoch: number of matches that the server tries to run, and of which DynamoDB gives the server no epoch.
    """

    id: str
    zone: str
    url: str
    players: int
    matches: int
    max_players: int
    draining: bool
    private_url: str = ""
    certificate: str = ""
    outdated: bool = False
    without_epoch: int = 0

    @property
    def load(self) -> float:
        """Return the share of the server's places that are taken; 1 is full."""
        return self.players / max(1, self.max_players)


class StateFigures(msgspec.Struct, frozen=True):
    """Describes the memory of the state store.

    Attributes:
        memory_bytes: memory that the fullest node uses.
        max_memory_bytes: limit of that node's memory, or 0 for no limit.
        evicted_keys: keys that the nodes have evicted since their start; always 0 if the policy is `noeviction`.
        policy: the policy by which a full node makes room, `noeviction` in a sound state store.
        clients: number of connections.
        server_version: version of Redis or Valkey.
        shards: number of shards.
    """

    memory_bytes: int
    max_memory_bytes: int
    evicted_keys: int
    policy: str
    clients: int
    server_version: str
    shards: int


class Directory:
    """Reads and writes the directory for one process.

    Methods raise redis.exceptions.RedisError when Redis does not answer.

    Args:
        redis: a client that returns bytes (`decode_responses=False`).
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._recent_picks: list[tuple[float, str, int]] = []

    async def ping(self) -> None:
        """Return when the state store has answered."""
        await self._redis.execute_command("PING")  # type: ignore[no-untyped-call]

    async def figures(self) -> StateFigures:
        """Return the figures of the state store's memory."""
        cluster = cluster_of(self._redis)
        if cluster is None:
            shards: list[dict[str, Any]] = [await self._redis.info()]
        else:
            # With names of nodes instead of PRIMARIES, redis-py would not repeat a command after a lost connection.
            answers = await cluster.execute_command("INFO", target_nodes=StateCluster.PRIMARIES)
            # redis-py returns the answer of a single node, or a dictionary with the answers of several nodes.
            shards = [answers] if "used_memory" in answers else list(answers.values())
        fullest = max(shards, key=lambda info: int(info["used_memory"]))
        policies = {str(info.get("maxmemory_policy", "noeviction")) for info in shards}
        return StateFigures(
            memory_bytes=int(fullest["used_memory"]),
            max_memory_bytes=int(fullest.get("maxmemory", 0)),
            evicted_keys=sum(int(info.get("evicted_keys", 0)) for info in shards),
            policy=", ".join(sorted(policies)),
            clients=sum(int(info.get("connected_clients", 0)) for info in shards),
            server_version=str(fullest.get("valkey_version") or fullest.get("redis_version")),
            shards=len(shards),
        )

    async def new_match_id(self, server_id: str) -> str:
        """Return an id for a new match of a server. In cluster mode the id begins with the hash tag of the match."""
        name = uuid.uuid4().hex
        cluster = cluster_of(self._redis)
        return name if cluster is None else f"{await cluster.tag_for(server_id)}-{name}"

    async def servers(self, heard_within_seconds: float = ALIVE_SECONDS) -> list[ServerInfo]:
        """Return the live servers: first those that stay, then the outdated ones, and at last those that drain. Of
        each kind, the least loaded server is first.

        Args:
            heard_within_seconds: age of a server's last heartbeat up to which the server counts as alive.
        """
        ids = await _ALIVE.run(self._redis, [keys.SERVERS], round(heard_within_seconds * 1000))
        raw = await self._get_each([keys.server(server_id.decode()) for server_id in ids])
        servers = [msgspec.json.decode(info, type=ServerInfo) for info in raw if info is not None]
        return sorted(servers, key=lambda server: (server.draining, server.outdated, server.load, server.id))

    async def pick_server(self, seats: int) -> ServerInfo | None:
        """Return the least loaded server with room for `seats` more players; None if the region is full.

        An outdated server is picked only if no other server has room, because ECS will stop the server soon.

        Players for whom this process picked a server in the last second count as load of that server, because the
        server's heartbeat may not contain them yet.
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
        best = min(fitting, key=lambda server: (server.outdated, expected[server.id] / server.max_players, server.id))
        self._recent_picks.append((now, best.id, seats))
        return best

    def unpick(self, server: ServerInfo, seats: int) -> None:
        """Cancel a pick whose match was not created, so that the pick does not count as load."""
        for pick in reversed(self._recent_picks):
            if pick[1:] == (server.id, seats):
                self._recent_picks.remove(pick)
                return

    async def create_match(self, spec: MatchSpec) -> None:
        """Register a new match. The server in `spec` adopts the match when the first player joins, or in a sweep."""
        await self._prepare(spec)
        if spec.seats > 1:
            await self._redis.zadd(keys.open_matches(spec.open_list), {spec.match_id: spec.created_at_ms})

    async def create_unless_open(self, spec: MatchSpec) -> tuple[MatchSpec, ServerInfo] | None:
        """Register a new match, unless another match of its mode has a free seat.

        A seat is kept for the caller's player, in the new match or in the match that has a free seat. The kept seats
        make callers in many processes fill one match after the other, even at the same moment.

        Returns:
            The match that has a free seat, with its server; None if the new match was registered.
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
        """Return the oldest match that has a free seat, with its server, and keep the seat for a few seconds.

        Args:
            mode: name of the mode.
            internal: True to search the matches of internal accounts.

        Returns:
            None if no match of the mode has a free seat and a live server.
        """
        name = open_list(mode, internal=internal)
        ids = await self._redis.zrange(keys.open_matches(name), 0, _OPEN_CANDIDATES - 1)
        for match_id in map(_text, ids):
            joined = await self._take_seat(name, match_id)
            if joined is not None:
                return joined
        return None

    async def locate(self, match_id: str) -> tuple[MatchSpec, ServerInfo | None] | None:
        """Return a match and the server on which to play it.

        If a live server owns the match, `locate` returns the owner. If no live server owns the match, `locate` returns
        the server that the API chose for the match, unless that server drains, or else the least loaded server.

        Returns:
            The match and the server, or None if Redis has no match with this id. The server in the returned pair is
            None if no server is alive.
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
        """Return the id of the server that holds the match's lease, or None. The server may be dead, because a server's
        lease ends only some time after its death."""
        raw = await self._redis.get(keys.lease(match_id))
        return None if raw is None else _text(raw).rpartition(":")[0]

    async def specs(self, match_ids: Sequence[str]) -> list[MatchSpec | None]:
        """Return the specs of many matches in one round trip, with None for each match that Redis does not have."""
        raw = await self._get_each([keys.spec(match_id) for match_id in match_ids])
        return [None if spec is None else msgspec.json.decode(spec, type=MatchSpec) for spec in raw]

    async def heartbeat(self, info: ServerInfo) -> None:
        """Record that a server is alive, and its current load."""
        await self._redis.set(keys.server(info.id), msgspec.json.encode(info), px=round(ALIVE_SECONDS * 2000))
        await _STAMP.run(self._redis, [keys.SERVERS], info.id)

    async def deregister(self, server_id: str) -> None:
        """Remove a server from the directory."""
        await self._redis.zrem(keys.SERVERS, server_id)
        await self._redis.delete(keys.server(server_id))

    async def close_seats(self, open_list_name: str, match_id: str) -> None:
        """Remove a match that takes no more players from a list of open matches."""
        await self._redis.zrem(keys.open_matches(open_list_name), match_id)

    async def open_seats(self, open_list_name: str, match_id: str, created_at_ms: int) -> None:
        """Add a match with a free seat to a list of open matches.

        Args:
            open_list_name: name of the list, as `MatchSpec.open_list` returns it.
            match_id: id of the match.
            created_at_ms: creation time of the match, in milliseconds since 1970.
        """
        await self._redis.zadd(keys.open_matches(open_list_name), {match_id: created_at_ms})

    async def forget(self, match_id: str) -> None:
        """Remove a match whose keys no longer exist from the set of active matches."""
        await self._redis.zrem(keys.ACTIVE_MATCHES, match_id)

    async def active_matches(self) -> list[str]:
        """Return the ids of all matches that are not finished yet, for operators and tests."""
        return [_text(match_id) for match_id in await self._redis.zrange(keys.ACTIVE_MATCHES, 0, -1)]

    async def _prepare(self, spec: MatchSpec) -> None:
        await self._redis.set(keys.spec(spec.match_id), msgspec.json.encode(spec), ex=keys.MATCH_TTL_SECONDS)
        await _STAMP.run(self._redis, [keys.ACTIVE_MATCHES], spec.match_id)

    async def _take_seat(self, open_list_name: str, match_id: str) -> tuple[MatchSpec, ServerInfo] | None:
        """Keep a seat, and return the match and its server; None without a free seat or without a live server."""
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
        """Return the values of many keys in one round trip, by a pipeline of GETs. MGET would need all keys in one hash
        slot if Redis had several shards."""
        if not names:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        values: list[bytes | None] = await pipeline.execute()
        return values


def _text(raw: Any) -> str:
    """Return an answer of Redis as text. redis-py declares each answer as `Any`, but the directory's client answers
    with bytes."""
    return str(raw, "ascii")
