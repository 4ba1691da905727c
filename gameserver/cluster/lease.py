"""Ownership of matches. A lease shows that the owner is alive. The fencing token of a match, which grows with each new
owner, decides which server may write the match. The fencing token is the owner's epoch, which
`gameserver.cluster.epochs` counts.

Every write (`MatchStore.commit`) renews the match's lease. A write also renews an expired lease that no other server
has acquired, because the unchanged token proves that no other server has written. An owner that was stopped for a while
(SIGSTOP, a stalled machine) either continues as the owner, or Redis refuses its next write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.epochs import Epochs
from gameserver.cluster.scripts import Script

# Acquires the lease of a match for a server.
# Result: 1 if the server has the lease, 0 if another server holds the lease, -1 if the match does not exist.
# Result -2: the match has a fencing token that is not below the server's epoch.
#
# A server may acquire a lease that its own id holds, because the supervisor restarts a dead server with its old id.
#
# KEYS: the match's lease, its newest fencing token, and the JSON of its `MatchSpec`.
# ARGV: the id of the server, the length of the lease in ms, the TTL of the fencing token in s, and the epoch.
_ACQUIRE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return 0 end
if redis.call('EXISTS', KEYS[3]) == 0 then return -1 end
local token = redis.call('GET', KEYS[2])
if token and tonumber(token) >= tonumber(ARGV[4]) then return -2 end
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[4], 'PX', ARGV[2])
return 1
""")
_HELD, _NO_MATCH, _LATE_EPOCH = 0, -1, -2
_ACQUIRE_ATTEMPTS: Final = 3

# Releases the lease of a match.
# Result: 1 if the lease was released, 0 if the server does not hold the lease with its fencing token.
#
# KEYS: the match's lease, and the JSON of its `MatchSpec`.
# ARGV: the id of the server, the server's fencing token for the match, and a `MatchSpec` that names the next owner, or
# ''.
_RELEASE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ':' .. ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'KEEPTTL') end
return 1
""")

# Records the time of Redis's clock as the time at which the owner of some active matches last reported.
#
# KEYS: the sorted set of active matches. The score of a match is the time of its owner's last report in ms.
# ARGV: the ids of the matches whose owner reports.
_TOUCH = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, id) end
return #ARGV
""")

# Lists the ids of active matches whose owner has not reported for a time, the longest silence first.
#
# KEYS: the sorted set of active matches. The score of a match is the time of its owner's last report in ms.
# ARGV: the age of the owner's last report in ms from which a match is listed, and the largest number of ids.
_STALE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], '-inf', now - ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
""")


class LeaseHeld(Exception):
    """Reports that another server holds the lease. The holder may be dead, but the lease has not expired yet."""


class NoSuchMatch(Exception):
    """Reports that Redis has no match with this id."""


class Leases:
    """Acquires and releases the leases of one server.

    Args:
        redis: a client that returns bytes.
        server_id: id of the server.
        lease_seconds: length of a lease in seconds.
        epochs: counts the owners of matches; None to count them in Redis, which can lose a count in a failover.
    """

    def __init__(self, redis: Redis, server_id: str, lease_seconds: float, epochs: Epochs | None = None) -> None:
        self._redis = redis
        self._epochs = epochs
        self._server_id = server_id
        self._lease_ms = round(lease_seconds * 1000)

    async def acquire(self, match_id: str) -> int:
        """Become the owner of a match, and return the epoch, which is the new fencing token.

        Raises:
            LeaseHeld: another server holds the lease.
            NoSuchMatch: Redis has no match with this id.
            EpochUnavailable: DynamoDB does not answer.
            UnknownMatch: DynamoDB has no match with this id.
            redis.exceptions.RedisError: Redis does not answer.
        """
        names = [keys.lease(match_id), keys.fence(match_id), keys.spec(match_id)]
        for _ in range(_ACQUIRE_ATTEMPTS):
            # Ask Redis before DynamoDB, because most attempts to acquire a lease come too early.
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.get(names[0])
            pipeline.get(names[1])
            pipeline.exists(names[2])
            holder, token, exists = await pipeline.execute()
            if holder is not None and not holder.startswith(b"%b:" % self._server_id.encode()):
                raise LeaseHeld(match_id)
            if not exists:
                raise NoSuchMatch(match_id)
            newest = int(token or 0)
            epoch = newest + 1 if self._epochs is None else await self._epochs.next(match_id, newest)
            arguments = (self._server_id, self._lease_ms, keys.MATCH_TTL_SECONDS, epoch)
            result = int(await _ACQUIRE.run(self._redis, names, *arguments))
            if result == _HELD:
                # The owner has renewed its lease since the first look.
                if self._epochs is not None:
                    await self._epochs.give_back(match_id, epoch)
                raise LeaseHeld(match_id)
            if result == _NO_MATCH:
                raise NoSuchMatch(match_id)
            if result != _LATE_EPOCH:
                return epoch
        # Other servers have become owners between the two calls. The caller tries again later, as with a held lease.
        raise LeaseHeld(match_id)

    async def confirm(self, match_id: str, token: int) -> bool:
        """Return False if another server has got an epoch of the match after this server's epoch `token`.

        Raises:
            EpochUnavailable: DynamoDB does not answer.
        """
        return self._epochs is None or await self._epochs.confirm(match_id, token)

    async def release(self, match_id: str, token: int, successor_spec: bytes = b"") -> bool:
        """Release the lease of a match, so that any server may adopt the match at once.

        Args:
            match_id: id of the match.
            token: fencing token of this server.
            successor_spec: the encoded `MatchSpec` that names the next owner; empty to keep the stored spec.

        Returns:
            False if this server no longer holds the lease with the fencing token `token`.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        names = [keys.lease(match_id), keys.spec(match_id)]
        released: bool = await _RELEASE.run(self._redis, names, self._server_id, token, successor_spec) == 1
        if released:
            await self._redis.zadd(keys.ACTIVE_MATCHES, {match_id: 0}, xx=True)
        return released

    async def touch(self, match_ids: Sequence[str]) -> None:
        """Record that the owner of the matches `match_ids` is alive.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        if match_ids:
            await _TOUCH.run(self._redis, [keys.ACTIVE_MATCHES], *match_ids)

    async def stale(self, age_seconds: float, limit: int) -> list[str]:
        """Return at most `limit` ids of matches whose owner has not called `touch` for `age_seconds`.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        match_ids = await _STALE.run(self._redis, [keys.ACTIVE_MATCHES], round(age_seconds * 1000), limit)
        return [match_id.decode() for match_id in match_ids]
