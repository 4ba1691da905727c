"""Tests that no write to Redis which arrives late, or which belongs to a lost history, changes a match."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.cluster import keys
from gameserver.cluster.lease import Leases
from gameserver.cluster.publisher import Outbox
from gameserver.cluster.store import Advance, Commit, CommitStatus, MatchStore
from gameserver.events import decode
from gameserver.match import Match, MatchSpec
from gameserver.server.committer import Committer
from gameserver.server.metrics import Metrics
from gameserver.server.restoring import restore
from gameserver.server.room import Origin, Room

LEASE = 30.0


@pytest.fixture
def store(redis: Redis) -> MatchStore:
    return MatchStore(redis, "s1", LEASE)


@pytest.fixture
async def owned(new_match: Any, redis: Redis) -> tuple[MatchSpec, int]:
    spec = await new_match("s1", seconds=600.0)
    return spec, await Leases(redis, "s1", LEASE).acquire(spec.match_id)


def _room(match: Match, token: int, server_id: str) -> Room:
    outbox = Outbox(match.spec.match_id, token, published=0, committed=match.sequence)
    return Room(match, outbox, Origin("region", server_id, 0.25, LEASE, list), Metrics(), lambda: None)


async def _store(room: Room, store: MatchStore) -> None:
    committer = Committer(store, lambda: [room], _unexpected, _unexpected, Metrics())
    assert await committer.commit([room], final=True)


def _unexpected(room: Room) -> None:
    raise AssertionError(room.match_id)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def test_a_commit_that_waited_in_the_network_changes_nothing(
    owned: tuple[MatchSpec, int], store: MatchStore, redis: Redis
) -> None:
    """Let the commit with Ada arrive after the commit with Bob, and let the owner die then."""
    spec, token = owned
    room = _room(Match(spec, 20), token, "s1")
    room.match.join("ada", "Ada", _now())
    await _store(room, store)
    late = room.prepare(time.monotonic(), final=True)
    room.not_stored()
    room.match.join("bob", "Bob", _now())
    await _store(room, store)
    assert await store.advance([Advance(spec.match_id, token, 3, 4)]) == [CommitStatus.STORED]

    await redis.delete(keys.lease(spec.match_id))
    assert await store.commit([late]) == [CommitStatus.STORED]
    assert not await redis.exists(keys.lease(spec.match_id))

    other = MatchStore(redis, "s2", LEASE)
    second = await Leases(redis, "s2", LEASE).acquire(spec.match_id)
    stored = await other.load(spec.match_id)
    assert stored is not None
    restored = await restore(stored, other, 20, Metrics())
    assert [player.name for player in restored.players()] == ["Ada", "Bob"]
    assert restored.sequence == 3
    assert (await store.commit([late])) == [CommitStatus.FENCED]

    adopted = _room(restored, second, "s2")
    restored.end("time", _now())
    await _store(adopted, other)
    [(entry, fields)] = await redis.xrange(keys.events(spec.match_id))
    assert (entry, decode(fields[b"e"]).type) == (b"4-0", "match.ended")


async def test_a_repeated_commit_is_stored_once(owned: tuple[MatchSpec, int], store: MatchStore, redis: Redis) -> None:
    spec, token = owned
    commit = Commit(spec.match_id, token, 7, 1, [b"one", b"two"], b"snapshot", seats_taken=2)
    assert await store.commit([commit, commit]) == [CommitStatus.STORED] * 2
    assert await store.commit([replace(commit, number=8, bodies=[b"one", b"two", b"three"])]) == [CommitStatus.STORED]
    assert [fields[b"e"] for _, fields in await redis.xrange(keys.events(spec.match_id))] == [b"one", b"two", b"three"]
    assert await redis.get(keys.commit(spec.match_id)) == b"%d:8" % token


async def test_other_events_with_stored_sequence_numbers_are_refused(
    owned: tuple[MatchSpec, int], store: MatchStore, redis: Redis
) -> None:
    """Write as an owner whose newest events Redis has lost in a failover, so that Redis has events of the next
    owner."""
    spec, token = owned
    commit = Commit(spec.match_id, token, 1, 1, [b"one", b"two"], b"first", seats_taken=1)
    assert await store.commit([commit]) == [CommitStatus.STORED]
    await redis.delete(keys.lease(spec.match_id))
    others = [
        replace(commit, number=2, first_sequence=2, bodies=[b"another two", b"three"], snapshot=b"second"),
        replace(commit, number=3, first_sequence=2, bodies=[b"another two"], snapshot=None),
    ]
    assert await store.commit(others) == [CommitStatus.FENCED] * 2
    assert await redis.get(keys.snapshot(spec.match_id)) == b"first"
    assert [fields[b"e"] for _, fields in await redis.xrange(keys.events(spec.match_id))] == [b"one", b"two"]
    assert not await redis.exists(keys.lease(spec.match_id))

    # An event that the stream does not keep any more is published, so no owner stores it again.
    assert await store.advance([Advance(spec.match_id, token, 2, 3)]) == [CommitStatus.STORED]
    assert await store.commit([replace(others[1], bodies=[b"two"])]) == [CommitStatus.FENCED]


async def test_of_two_servers_with_one_token_the_holder_of_the_lease_writes(
    owned: tuple[MatchSpec, int], redis: Redis
) -> None:
    """Give one token to two servers, as happens if a failover of Redis loses an acquisition."""
    spec, first = owned
    match_id = spec.match_id
    stores = {name: MatchStore(redis, name, LEASE) for name in ("s2", "s3")}
    await redis.delete(keys.lease(match_id))
    token = await Leases(redis, "s2", LEASE).acquire(match_id)
    await redis.set(keys.fence(match_id), first)
    await redis.delete(keys.lease(match_id))
    assert await Leases(redis, "s3", LEASE).acquire(match_id) == token
    commits = [Commit(match_id, token, 1, 1, [name.encode()], name.encode(), seats_taken=1) for name in stores]
    assert await stores["s2"].commit(commits[:1]) == [CommitStatus.FENCED]
    assert await stores["s3"].commit(commits[1:]) == [CommitStatus.STORED]
    assert await redis.get(keys.lease(match_id)) == b"s3:%d" % token
    assert await redis.get(keys.snapshot(match_id)) == b"s3"


async def test_an_adopted_match_starts_above_each_published_event(
    owned: tuple[MatchSpec, int], store: MatchStore, redis: Redis, start: Any, eventually: Any
) -> None:
    """Adopt a match with the snapshot after event 2 and with 8 published events, of which Redis has lost 3 to 8."""
    spec, token = owned
    room = _room(Match(spec, 20), token, "s1")
    room.match.join("ada", "Ada", _now())
    await _store(room, store)
    assert await store.advance([Advance(spec.match_id, token, 8, 9)]) == [CommitStatus.STORED]
    await redis.delete(keys.lease(spec.match_id))

    server = await start(snapshot_interval_seconds=60.0)
    adopted = await server.host.adopt(spec.match_id)
    adopted.match.join("bob", "Bob", _now())
    adopted._store_soon()

    async def published() -> bool:
        return await redis.get(keys.published(spec.match_id)) == b"9"

    await eventually(published)


async def test_events_that_no_snapshot_covers_stay_in_the_stream_of_an_adopted_match(
    owned: tuple[MatchSpec, int], store: MatchStore, redis: Redis, start: Any, eventually: Any
) -> None:
    spec, token = owned
    room = _room(Match(spec, 20), token, "s1")
    seat, _ = room.match.join("ada", "Ada", _now())
    await _store(room, store)
    room.match.say(seat, b"sealed", _now())
    assert await store.commit([replace(room.prepare(time.monotonic()), snapshot=None)]) == [CommitStatus.STORED]
    await redis.delete(keys.lease(spec.match_id))

    server = await start(snapshot_interval_seconds=60.0)
    await server.host.adopt(spec.match_id)

    async def published() -> bool:
        return await redis.get(keys.published(spec.match_id)) == b"3"

    await eventually(published)
    assert [entry for entry, _ in await redis.xrange(keys.events(spec.match_id))] == [b"1-0", b"2-0", b"3-0"]
