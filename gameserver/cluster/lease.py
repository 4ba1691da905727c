"""Who owns a match. The lease says who is alive; the fencing token, which rises with every owner, says who may write.

A lease is renewed by every write (`MatchStore.commit`). One that has expired but was not taken by anyone is renewed as
well: the unchanged token proves that nobody else has written. So an owner that slept (SIGSTOP, a stalled machine)
either finds itself still the last owner, or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.scripts import Script

# KEYS lease fence spec; ARGV server id, lease ms, key ttl s. 0: held by another; -1: no such match; else the token.
# The same server id takes over its own lease: it is the process that the supervisor started after the owner died.
_ACQUIRE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return 0 end
if redis.call('EXISTS', KEYS[3]) == 0 then return -1 end
local token = redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'PX', ARGV[2])
return token
""")

# KEYS lease spec; ARGV server id, token, spec with the successor's id or ''.
_RELEASE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ':' .. ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'KEEPTTL') end
return 1
""")

# KEYS active; ARGV match ids.
_TOUCH = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, id) end
return #ARGV
""")

# KEYS active; ARGV age ms, limit.
_STALE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], '-inf', now - ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
""")


class LeaseHeld(Exception):
    """Another server owns the match. `server_id` may already be dead; its lease has not expired yet."""


class NoSuchMatch(Exception):
    """Redis knows no match of this id."""


class Leases:
    """The leases of one server."""

    def __init__(self, redis: Redis, server_id: str, lease_seconds: float) -> None:
        self._redis = redis
        self._server_id = server_id
        self._lease_ms = round(lease_seconds * 1000)

    async def acquire(self, match_id: str) -> int:
        """Become the owner. Returns the fencing token.

        Raises:
            LeaseHeld, NoSuchMatch, redis.exceptions.RedisError
        """
        names = [keys.lease(match_id), keys.fence(match_id), keys.spec(match_id)]
        token = int(await _ACQUIRE.run(self._redis, names, self._server_id, self._lease_ms, keys.MATCH_TTL_SECONDS))
        if token == 0:
            raise LeaseHeld(match_id)
        if token < 0:
            raise NoSuchMatch(match_id)
        return token

    async def release(self, match_id: str, token: int, successor_spec: bytes = b"") -> bool:
        """Give the match up at once, for `successor_spec`'s server if there is one; any server may adopt it now.

        Raises:
            redis.exceptions.RedisError
        """
        names = [keys.lease(match_id), keys.spec(match_id)]
        released: bool = await _RELEASE.run(self._redis, names, self._server_id, token, successor_spec) == 1
        if released:
            await self._redis.zadd(keys.ACTIVE_MATCHES, {match_id: 0}, xx=True)
        return released

    async def touch(self, match_ids: Sequence[str]) -> None:
        """Tell the others that these matches are looked after. Raises: redis.exceptions.RedisError."""
        if match_ids:
            await _TOUCH.run(self._redis, [keys.ACTIVE_MATCHES], *match_ids)

    async def stale(self, age_seconds: float, limit: int) -> list[str]:
        """At most `limit` matches that nobody has touched for `age_seconds`. Raises: redis.exceptions.RedisError."""
        found = await _STALE.run(self._redis, [keys.ACTIVE_MATCHES], round(age_seconds * 1000), limit)
        return [match_id.decode() for match_id in found]
