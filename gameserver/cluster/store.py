"""Stores the snapshot and the event stream of each match in Redis. A write needs the match's current fencing token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gameserver.cluster import keys
from gameserver.cluster.scripts import Script
from gameserver.events import EncodedEvent, StoredEvent, decode
from gameserver.match import MatchSpec
from gameserver.runtime.state_cluster import cluster_of

log = structlog.get_logger()

# Stores the commits of many matches in one call, because the call and its answer cost the game server more than the
# rest of a commit.
#
# KEYS: for each match the names that `keys.of_commit` returns.
# ARGV[1] to ARGV[3]: the id of the server, the length of a lease in ms, and the TTL of the match's other keys in s.
# Further ARGV of each match: the server's fencing token, the number of the commit, the snapshot to store or '', and the
# number of taken seats.
# Last ARGV of each match: the sequence number of the first event to store, the number of events, and their bodies.
#
# The id of an entry in the stream of events is the event's sequence number, so a repeated commit adds no event. If the
# stream refuses an event, the stream must have the event's body already. The events of another history of the match,
# from a server that wrote before Redis lost its newest data, have other bodies.
#
# A commit that waited in the network can arrive after a newer commit, which contains all events of the older commit.
# The script skips a commit whose number is at most the number of the commit that stored the newest snapshot.
#
# Result 1 of a match: Redis has stored the commit, or a newer commit of the server.
# Result 0 of a match: Redis has refused the commit. The server's token is not the newest token of the match, or the
# lease names another server, or the stream has other events with the commit's sequence numbers.
# Result -1 of a match: Redis has lost the match.
# Another result of a match: the error that Redis reported for the match's stream of events.
_COMMIT = Script("""
local outcomes, at, owner = {}, 4, ARGV[1] .. ':'
for key = 1, #KEYS, 6 do
  local token, number, snapshot, seats = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local first, bodies = ARGV[at + 4], ARGV[at + 5]
  local outcome, fence, lease = 1, redis.call('GET', KEYS[key]), redis.call('GET', KEYS[key + 1])
  at = at + 6
  if not fence then outcome = -1
  elseif fence ~= token or (lease and lease ~= owner .. token) then outcome = 0
  else
    local late = false
    if snapshot ~= '' then
      local newest = redis.call('GET', KEYS[key + 4])
      if newest and string.sub(newest, 1, #token + 1) == token .. ':' then
        late = tonumber(number) <= tonumber(string.sub(newest, #token + 2))
      end
    end
    if not late then
      for index = 0, bodies - 1 do
        local id, body = string.format('%d-0', first + index), ARGV[at + index]
        local reply = redis.pcall('XADD', KEYS[key + 2], id, 'e', body)
        if type(reply) == 'table' and reply.err then
          if not string.find(reply.err, 'equal or smaller', 1, true) then outcome = reply; break end
          local entry = redis.call('XRANGE', KEYS[key + 2], id, id)[1]
          if not entry or entry[2][2] ~= body then outcome = 0; break end
        end
      end
    end
    if outcome ~= 0 and not late then redis.call('SET', KEYS[key + 1], owner .. token, 'PX', ARGV[2]) end
    if outcome == 1 and not late then
      if bodies ~= '0' then redis.call('EXPIRE', KEYS[key + 2], ARGV[3]) end
      if snapshot ~= '' then
        redis.call('SET', KEYS[key + 3], snapshot, 'EX', ARGV[3])
        redis.call('SET', KEYS[key + 4], token .. ':' .. number, 'EX', ARGV[3])
        local arrived = tonumber(seats) - tonumber(redis.call('HGET', KEYS[key + 5], 'taken') or '0')
        if arrived ~= 0 then
          redis.call('HSET', KEYS[key + 5], 'taken', seats)
          redis.call('EXPIRE', KEYS[key + 5], ARGV[3])
          for _, field in ipairs(redis.call('HKEYS', KEYS[key + 5])) do
            if arrived <= 0 then break end
            if field ~= 'taken' then redis.call('HDEL', KEYS[key + 5], field); arrived = arrived - 1 end
          end
        end
      end
    end
  end
  at = at + bodies
  outcomes[#outcomes + 1] = outcome
end
return outcomes
""")

# Records which event of each match was published last, and removes from the stream the events that no server needs any
# more.
#
# KEYS: for each match its newest fencing token, its lease, the sequence number of its last published event, and its
# stream of events.
# ARGV[1] and ARGV[2]: the id of the server, and the TTL of the recorded sequence numbers in s.
# Further ARGV of each match: the server's fencing token, and the sequence numbers of the last published event and of
# the oldest event that the stream must keep.
#
# Result: for each match 1, 0 or -1, as in `_COMMIT`: stored, refused because of the fencing token or the lease, or lost
# by Redis.
_ADVANCE = Script("""
local outcomes, owner = {}, ARGV[1] .. ':'
for match = 0, #KEYS / 4 - 1 do
  local key, at = 4 * match, 3 * match + 3
  local fence, lease = redis.call('GET', KEYS[key + 1]), redis.call('GET', KEYS[key + 2])
  if not fence then outcomes[match + 1] = -1
  elseif fence ~= ARGV[at] or (lease and lease ~= owner .. fence) then outcomes[match + 1] = 0
  else
    redis.call('SET', KEYS[key + 3], ARGV[at + 1], 'EX', ARGV[2])
    redis.call('XTRIM', KEYS[key + 4], 'MINID', ARGV[at + 2] .. '-0')
    outcomes[match + 1] = 1
  end
end
return outcomes
""")

# Writes a lost match to Redis again.
# Result: 1 if the match is written, 0 if Redis has a match with this token or a newer one.
#
# A match with an older token is replaced, because a stale owner has written it after Redis lost the match.
#
# KEYS[1] to KEYS[4]: the match's fencing token, its lease, its `MatchSpec`, and the sequence number of the match's last
# published event.
# KEYS[5] to KEYS[7]: the match's stream of events, its snapshot, and the number of the snapshot's commit.
# ARGV[1] to ARGV[4]: the id of the server, its fencing token, the length of the lease in ms, and the TTL of the match's
# other keys in s.
# ARGV[5] to ARGV[7]: the JSON of the `MatchSpec`, the sequence number of the last published event, and the snapshot.
# Further ARGV: the sequence number of the first event to store in the stream, and the body of each event.
_RECREATE = Script("""
local token = redis.call('GET', KEYS[1])
if token and tonumber(token) >= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[5], KEYS[7])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[3], ARGV[5], 'EX', ARGV[4])
redis.call('SET', KEYS[4], ARGV[6], 'EX', ARGV[4])
redis.call('SET', KEYS[6], ARGV[7], 'EX', ARGV[4])
for index = 9, #ARGV do
  redis.call('XADD', KEYS[5], string.format('%d-0', ARGV[8] + index - 9), 'e', ARGV[index])
end
redis.call('EXPIRE', KEYS[5], ARGV[4])
return 1
""")

# Lets the keys of a finished match expire.
# Result: 1 if the keys will expire. Result 0: the server's fencing token is not the newest token of the match, or the
# lease names another server.
#
# KEYS: the match's newest fencing token and its lease, followed by all other keys of the match.
# ARGV: the id of the server, its fencing token for the match, and the TTL of the match's keys in s.
_FINISH = Script("""
local fence, lease = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if fence ~= ARGV[2] or (lease and lease ~= ARGV[1] .. ':' .. ARGV[2]) then return 0 end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
return 1
""")


class CommitStatus(Enum):
    """Names the results of a write to Redis.

    Attributes:
        STORED: Redis has stored the write.
        FENCED: Redis has refused the write, because another server owns the match, or has stored other events with the
            sequence numbers of the write.
        FORGOTTEN: Redis has lost the match.
        FAILED: Redis did not answer or reported an error; the server can repeat the write.
    """

    STORED = 1
    FENCED = 0
    FORGOTTEN = -1
    FAILED = -2


@dataclass(frozen=True)
class Commit:
    """Describes one write of a match.

    Attributes:
        match_id: id of the match.
        token: fencing token of the writing server.
        number: number of the commit, which is larger than the numbers of all earlier commits of the match by this
            server.
        first_sequence: sequence number of the first event.
        bodies: the encoded events from `first_sequence` on.
        snapshot: the encoded match after all events in `bodies`, or None if no snapshot is due.
        seats_taken: number of players who have a seat.
    """

    match_id: str
    token: int
    number: int
    first_sequence: int
    bodies: Sequence[bytes]
    snapshot: bytes | None
    seats_taken: int


@dataclass(frozen=True)
class Advance:
    """Describes how far SNS has accepted the events of a match.

    Attributes:
        match_id: id of the match.
        token: fencing token of the writing server.
        published: sequence number of the last event that SNS has accepted.
        needed_from: sequence number of the first event that the stream must keep.
    """

    match_id: str
    token: int
    published: int
    needed_from: int


_W = TypeVar("_W", Commit, Advance)


@dataclass(frozen=True)
class StoredMatch:
    """Holds a match as Redis stores it, for the server that adopts it.

    Attributes:
        spec: the parameters that the API chose for the match.
        snapshot: the newest snapshot, or None if the match has none yet.
        events: the events in the stream, in order; at least those after the snapshot.
        published: sequence number of the last event that SNS has accepted.
        committed: sequence number of the last event that is stored in Redis.
    """

    spec: MatchSpec
    snapshot: bytes | None
    events: list[StoredEvent]
    published: int
    committed: int


class MatchStore:
    """Reads and writes the matches of one server in Redis.

    Methods raise redis.exceptions.RedisError when Redis does not answer.

    Args:
        redis: a client that returns bytes.
        server_id: id of the server, which the leases name.
        lease_seconds: length of a lease in seconds.
    """

    def __init__(self, redis: Redis, server_id: str, lease_seconds: float) -> None:
        self._redis = redis
        self._server_id = server_id
        self._lease_ms = round(lease_seconds * 1000)
        self._clustered = cluster_of(redis) is not None

    async def load(self, match_id: str) -> StoredMatch | None:
        """Return a stored match, or None if Redis has no match with this id.

        The caller must hold the lease of the match, so that no other server writes at the same time.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(keys.spec(match_id))
        pipeline.get(keys.snapshot(match_id))
        pipeline.xrange(keys.events(match_id))
        pipeline.get(keys.published(match_id))
        spec, snapshot, entries, published = await pipeline.execute()
        if spec is None:
            return None
        events = [decode(fields[b"e"]) for _, fields in entries]
        last = events[-1].sequence if events else 0
        return StoredMatch(
            spec=msgspec.json.decode(spec, type=MatchSpec),
            snapshot=snapshot,
            events=events,
            published=int(published or 0),
            committed=max(last, int(published or 0)),
        )

    async def count_unreadable(self, match_id: str) -> int:
        """Count a failed attempt to restore a match, and return the number of failed attempts of all servers."""
        name = keys.unreadable(match_id)
        count = int(await self._redis.incr(name))
        await self._redis.expire(name, keys.MATCH_TTL_SECONDS)
        return count

    async def commit(self, commits: Sequence[Commit]) -> list[CommitStatus]:
        """Store events and snapshots of many matches in one round trip, and renew the leases of the matches.

        In cluster mode, a call of the script stores the matches of one hash slot. If a shard does not answer,
        the commits of the other shards are stored.

        Returns:
            The status of each commit, in order. If Redis reports an error, the status is FAILED, and no error is
            raised.
        """
        return await self._by_slot(commits, self._commit)

    async def _commit(self, commits: Sequence[Commit]) -> list[CommitStatus]:
        names: list[str] = []
        arguments: list[Any] = [self._server_id, self._lease_ms, keys.MATCH_TTL_SECONDS]
        for commit in commits:
            names += keys.of_commit(commit.match_id)
            arguments += (commit.token, commit.number, commit.snapshot or b"", commit.seats_taken)
            arguments += (commit.first_sequence, len(commit.bodies), *commit.bodies)
        try:
            results: list[Any] = await _COMMIT.run(self._redis, names, *arguments)
        except RedisError as error:
            results = [error] * len(commits)
        errors = {type(result).__name__ for result in results if isinstance(result, Exception)}
        if errors:
            log.warning("commit_failed", matches=len(commits), errors=sorted(errors))
        return [_outcome(result) for result in results]

    async def recreate(
        self,
        spec: MatchSpec,
        token: int,
        published: int,
        snapshot: bytes,
        first_sequence: int,
        bodies: Sequence[bytes],
    ) -> bool:
        """Write a lost match to Redis again, with its state and its unpublished events.

        Args:
            spec: the parameters of the match.
            token: fencing token of this server, which must be the match's newest epoch.
            published: sequence number of the last event that SNS has accepted.
            snapshot: the encoded match after all events in `bodies`.
            first_sequence: sequence number of the first event in `bodies`.
            bodies: the encoded events that SNS has not accepted.

        Returns:
            False if Redis has the match, written by this server or by a newer owner.
        """
        name = spec.match_id
        names = (keys.fence, keys.lease, keys.spec, keys.published, keys.events, keys.snapshot, keys.commit)
        recreated = await _RECREATE.run(
            self._redis, [key(name) for key in names],
            self._server_id, token, self._lease_ms, keys.MATCH_TTL_SECONDS, msgspec.json.encode(spec),
            published, snapshot, first_sequence, *bodies,
        )  # fmt: skip
        if recreated != 1:
            return False
        await self._redis.zadd(keys.ACTIVE_MATCHES, {name: time.time() * 1000})
        return True

    async def unpublished(self, wanted: Sequence[tuple[str, int]], limit: int) -> list[list[EncodedEvent]]:
        """Return the unpublished events of many matches.

        Args:
            wanted: pairs of a match id and the sequence number of the last published event.
            limit: most events of each match.

        Returns:
            The events of each match, in the order of `wanted`.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for match_id, published in wanted:
            pipeline.xrange(keys.events(match_id), min=f"{published + 1}-0", count=limit)
        streams = await pipeline.execute()
        return [
            [EncodedEvent(int(entry.split(b"-")[0]), fields[b"e"]) for entry, fields in entries] for entries in streams
        ]

    async def advance(self, advances: Sequence[Advance]) -> list[CommitStatus]:
        """Record which events SNS has accepted, and trim the streams. Returns the status of each of `advances`, in
        order."""
        return await self._by_slot(advances, self._advance) if advances else []

    async def _advance(self, advances: Sequence[Advance]) -> list[CommitStatus]:
        names: list[str] = []
        arguments: list[Any] = [self._server_id, keys.MATCH_TTL_SECONDS]
        for advance in advances:
            name = advance.match_id
            names += (keys.fence(name), keys.lease(name), keys.published(name), keys.events(name))
            arguments += (advance.token, advance.published, advance.needed_from)
        return [_outcome(result) for result in await _ADVANCE.run(self._redis, names, *arguments)]

    async def _by_slot(
        self, writes: Sequence[_W], write: Callable[[Sequence[_W]], Awaitable[list[CommitStatus]]]
    ) -> list[CommitStatus]:
        """Call `write` once for the writes of each hash tag at the same time, and return the statuses in order."""
        groups: dict[str, list[int]] = {}
        if self._clustered:
            for index, item in enumerate(writes):
                groups.setdefault(keys.tag(item.match_id), []).append(index)
        if len(groups) < 2:
            return await write(writes)
        answers = await asyncio.gather(*(write([writes[index] for index in group]) for group in groups.values()))
        statuses = [CommitStatus.FAILED] * len(writes)
        for group, answer in zip(groups.values(), answers, strict=True):
            for index, status in zip(group, answer, strict=True):
                statuses[index] = status
        return statuses

    async def finish(self, spec: MatchSpec, token: int) -> bool:
        """Finish a match that has ended and whose events are all published.

        The match's keys expire after `keys.FINISHED_TTL_SECONDS`, so that late clients can still read the result.

        Returns:
            False if another server owns the match.
        """
        checked = [keys.fence(spec.match_id), keys.lease(spec.match_id)]
        names = checked + [name for name in keys.of_match(spec.match_id) if name not in checked]
        if await _FINISH.run(self._redis, names, self._server_id, token, keys.FINISHED_TTL_SECONDS) != 1:
            return False
        await self._redis.zrem(keys.ACTIVE_MATCHES, spec.match_id)
        await self._redis.zrem(keys.open_matches(spec.open_list), spec.match_id)
        return True


def _outcome(result: Any) -> CommitStatus:
    return CommitStatus.FAILED if isinstance(result, Exception) else CommitStatus(result)
