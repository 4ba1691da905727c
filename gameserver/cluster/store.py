"""What is kept of a match outside its owner: snapshot and event stream, written only with the current fencing token."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gameserver.cluster import keys
from gameserver.cluster.scripts import Script
from gameserver.events import EncodedEvent, StoredEvent, decode
from gameserver.match import MatchSpec

log = structlog.get_logger()

# One call for many matches: a call and its answer cost the client more than all else of a commit. Each match is judged
# by itself.
# KEYS for each match: fence lease events snapshot seats; ARGV server id, lease ms, ttl s, then for each match: token,
# snapshot or '', seats taken, sequence of the first event, number of bodies, bodies. Entries have the event's sequence
# as id, so a repeated commit adds nothing. Answers for each match 1: stored; 0: the token is not the last one given
# out; -1: Redis has lost the match; or an error.
_COMMIT = Script("""
local outcomes, at, owner = {}, 4, ARGV[1] .. ':'
for key = 1, #KEYS, 5 do
  local token, snapshot, seats, first, bodies = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local outcome, fence = 1, redis.call('GET', KEYS[key])
  at = at + 5
  if not fence then outcome = -1
  elseif fence ~= token then outcome = 0
  else
    redis.call('SET', KEYS[key + 1], owner .. token, 'PX', ARGV[2])
    for index = 0, bodies - 1 do
      local id = string.format('%d-0', first + index)
      local reply = redis.pcall('XADD', KEYS[key + 2], id, 'e', ARGV[at + index])
      if type(reply) == 'table' and reply.err and not string.find(reply.err, 'equal or smaller', 1, true) then
        outcome = reply
        break
      end
    end
    if outcome == 1 then
      if bodies ~= '0' then redis.call('EXPIRE', KEYS[key + 2], ARGV[3]) end
      if snapshot ~= '' then
        redis.call('SET', KEYS[key + 3], snapshot, 'EX', ARGV[3])
        local arrived = tonumber(seats) - tonumber(redis.call('HGET', KEYS[key + 4], 'taken') or '0')
        if arrived ~= 0 then
          redis.call('HSET', KEYS[key + 4], 'taken', seats)
          redis.call('EXPIRE', KEYS[key + 4], ARGV[3])
          for _, field in ipairs(redis.call('HKEYS', KEYS[key + 4])) do
            if arrived <= 0 then break end
            if field ~= 'taken' then redis.call('HDEL', KEYS[key + 4], field); arrived = arrived - 1 end
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

# KEYS for each match: fence published events; ARGV ttl s, then for each match: token, sequence, oldest sequence still
# needed. Answers as _COMMIT does.
_ADVANCE = Script("""
local outcomes = {}
for match = 0, #KEYS / 3 - 1 do
  local fence, at = redis.call('GET', KEYS[3 * match + 1]), 3 * match + 2
  if not fence then outcomes[match + 1] = -1
  elseif fence ~= ARGV[at] then outcomes[match + 1] = 0
  else
    redis.call('SET', KEYS[3 * match + 2], ARGV[at + 1], 'EX', ARGV[1])
    redis.call('XTRIM', KEYS[3 * match + 3], 'MINID', ARGV[at + 2] .. '-0')
    outcomes[match + 1] = 1
  end
end
return outcomes
""")

# KEYS fence lease spec published events; ARGV server id, token, lease ms, ttl s, spec, published, first sequence,
# bodies.
_RECREATE = Script("""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[3], ARGV[5], 'EX', ARGV[4])
redis.call('SET', KEYS[4], ARGV[6], 'EX', ARGV[4])
for index = 8, #ARGV do
  redis.call('XADD', KEYS[5], string.format('%d-0', ARGV[7] + index - 8), 'e', ARGV[index])
end
return 1
""")

# KEYS fence and all others; ARGV token, ttl s.
_FINISH = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end
return 1
""")


class CommitStatus(Enum):
    """Of a write. FENCED: another server owns the match. FORGOTTEN: Redis has lost it. FAILED: try again."""

    STORED = 1
    FENCED = 0
    FORGOTTEN = -1
    FAILED = -2


@dataclass(frozen=True)
class Commit:
    """One write. `bodies`: the events from `first_sequence` on; `snapshot` covers all of them."""

    match_id: str
    token: int
    first_sequence: int
    bodies: Sequence[bytes]
    snapshot: bytes | None
    seats_taken: int


@dataclass(frozen=True)
class Advance:
    """SNS has taken everything up to `published`; events before `needed_from` may be dropped."""

    match_id: str
    token: int
    published: int
    needed_from: int


@dataclass(frozen=True)
class StoredMatch:
    """What an adopting server finds. `events`: those after the snapshot; `published`: last sequence that SNS has."""

    spec: MatchSpec
    snapshot: bytes | None
    events: list[StoredEvent]
    published: int
    committed: int


class MatchStore:
    """All writes of one server. Methods raise redis.exceptions.RedisError when Redis does not answer."""

    def __init__(self, redis: Redis, server_id: str, lease_seconds: float) -> None:
        self._redis = redis
        self._server_id = server_id
        self._lease_ms = round(lease_seconds * 1000)

    async def load(self, match_id: str) -> StoredMatch | None:
        """Read a match; call it only after its lease was taken, so that nobody writes any more."""
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
        """How often, this time included, a server could not restore the match."""
        name = keys.unreadable(match_id)
        count = int(await self._redis.incr(name))
        await self._redis.expire(name, keys.MATCH_TTL_SECONDS)
        return count

    async def commit(self, commits: Sequence[Commit]) -> list[CommitStatus]:
        """Store many matches' events and snapshots in one round trip, and renew their leases. Raises nothing."""
        names: list[str] = []
        arguments: list[Any] = [self._server_id, self._lease_ms, keys.MATCH_TTL_SECONDS]
        for commit in commits:
            name = commit.match_id
            names += (keys.fence(name), keys.lease(name), keys.events(name), keys.snapshot(name), keys.seats(name))
            arguments += (commit.token, commit.snapshot or b"", commit.seats_taken, commit.first_sequence)
            arguments += (len(commit.bodies), *commit.bodies)
        try:
            results: list[Any] = await _COMMIT.run(self._redis, names, *arguments)
        except RedisError as error:
            results = [error] * len(commits)
        errors = {type(result).__name__ for result in results if isinstance(result, Exception)}
        if errors:
            log.warning("commit_failed", matches=len(commits), errors=sorted(errors))
        return [_outcome(result) for result in results]

    async def recreate(
        self, spec: MatchSpec, token: int, published: int, first_sequence: int, bodies: Sequence[bytes]
    ) -> bool:
        """Write a match anew that Redis has lost, with the events that are not published yet; a snapshot must follow.

        False: somebody else was faster.
        """
        name = spec.match_id
        recreated = await _RECREATE.run(
            self._redis, [keys.fence(name), keys.lease(name), keys.spec(name), keys.published(name), keys.events(name)],
            self._server_id, token, self._lease_ms, keys.MATCH_TTL_SECONDS, msgspec.json.encode(spec),
            published, first_sequence, *bodies,
        )  # fmt: skip
        if recreated != 1:
            return False
        await self._redis.zadd(keys.ACTIVE_MATCHES, {name: time.time() * 1000})
        return True

    async def unpublished(self, wanted: Sequence[tuple[str, int]], limit: int) -> list[list[EncodedEvent]]:
        """For each `(match id, published)`: up to `limit` following events."""
        pipeline = self._redis.pipeline(transaction=False)
        for match_id, published in wanted:
            pipeline.xrange(keys.events(match_id), min=f"{published + 1}-0", count=limit)
        found = await pipeline.execute()
        return [
            [EncodedEvent(int(entry.split(b"-")[0]), fields[b"e"]) for entry, fields in entries] for entries in found
        ]

    async def advance(self, advances: Sequence[Advance]) -> list[CommitStatus]:
        """Record what SNS has taken."""
        if not advances:
            return []
        names: list[str] = []
        arguments: list[Any] = [keys.MATCH_TTL_SECONDS]
        for advance in advances:
            name = advance.match_id
            names += (keys.fence(name), keys.published(name), keys.events(name))
            arguments += (advance.token, advance.published, advance.needed_from)
        return [_outcome(result) for result in await _ADVANCE.run(self._redis, names, *arguments)]

    async def finish(self, spec: MatchSpec, token: int) -> bool:
        """Forget a match that has ended and is fully published, after a while for late clients. False: fenced off."""
        names = keys.of_match(spec.match_id)
        names.sort(key=lambda name: name != keys.fence(spec.match_id))
        if await _FINISH.run(self._redis, names, token, keys.FINISHED_TTL_SECONDS) != 1:
            return False
        await self._redis.zrem(keys.ACTIVE_MATCHES, spec.match_id)
        await self._redis.zrem(keys.open_matches(spec.open_list), spec.match_id)
        return True


def _outcome(result: Any) -> CommitStatus:
    return CommitStatus.FAILED if isinstance(result, Exception) else CommitStatus(result)
