"""Tests of the directory, the leases and the match store on a real Redis."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gameserver.cluster import keys
from gameserver.cluster.directory import Directory, ServerInfo
from gameserver.cluster.lease import LeaseHeld, Leases, NoSuchMatch
from gameserver.cluster.publisher import Outbox, Publisher
from gameserver.cluster.scripts import Script
from gameserver.cluster.store import Advance, Commit, CommitStatus, MatchStore
from gameserver.events import MatchEvent, decode, encode
from gameserver.match import MatchSpec
from gameserver.runtime.aws import AwsClients
from gameserver.server.process import end_tasks

# Length of the leases in the tests of this file, in seconds. A test that needs an expired lease calls `_lapse`, which
# ends the lease at once.
LEASE = 30.0

_NUMBERS = itertools.count(1)


def _server(server_id: str, *, players: int = 0, draining: bool = False, max_players: int = 10) -> ServerInfo:
    return ServerInfo(server_id, "zone", f"ws://{server_id}/", players, 0, max_players, draining)


def _event(sequence: int, event_type: str = "player.scored") -> MatchEvent:
    return MatchEvent(sequence, event_type, 1000 + sequence, {"player_id": "ada", "slot": 0, "score": sequence})


def _commit(match_id: str, token: int, first: int = 0, last: int = -1, snapshot: bytes | None = None) -> Commit:
    bodies = [encode(_event(n), match_id, "region", "s1") for n in range(first, last + 1)]
    return Commit(match_id, token, next(_NUMBERS), first, bodies, snapshot, seats_taken=1)


async def _lapse(redis: Redis, match_id: str) -> None:
    """Let the lease of the match expire at once."""
    assert 0 < await redis.pttl(keys.lease(match_id)) <= LEASE * 1000
    await redis.pexpire(keys.lease(match_id), 1)
    while await redis.exists(keys.lease(match_id)):  # noqa: ASYNC110 - only Redis can tell
        await asyncio.sleep(0.001)


@pytest.fixture
def stores(redis: Redis) -> dict[str, tuple[Leases, MatchStore]]:
    return {name: (Leases(redis, name, LEASE), MatchStore(redis, name, LEASE)) for name in ("s1", "s2")}


async def test_a_match_has_one_owner_until_its_lease_ends(new_match: Any, stores: Any, redis: Redis) -> None:
    spec = await new_match("s1")
    assert await stores["s1"][0].acquire(spec.match_id) == 1
    with pytest.raises(LeaseHeld):
        await stores["s2"][0].acquire(spec.match_id)
    await _lapse(redis, spec.match_id)
    assert await stores["s2"][0].acquire(spec.match_id) == 2


async def test_only_one_of_many_servers_becomes_the_owner_of_a_match(new_match: Any, redis: Redis) -> None:
    spec = await new_match("s1")
    attempts = [Leases(redis, f"server-{n}", 5).acquire(spec.match_id) for n in range(20)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [result for result in results if not isinstance(result, LeaseHeld)] == [1]


async def test_a_restarted_server_acquires_its_own_lease_at_once(new_match: Any, stores: Any) -> None:
    spec = await new_match("s1")
    assert await stores["s1"][0].acquire(spec.match_id) == 1
    assert await stores["s1"][0].acquire(spec.match_id) == 2
    assert await stores["s1"][1].commit([_commit(spec.match_id, 1)]) == [CommitStatus.FENCED]


async def test_a_server_whose_name_begins_like_the_owners_is_not_the_owner(new_match: Any, redis: Redis) -> None:
    spec = await new_match("game-1")
    await Leases(redis, "game-10", 5).acquire(spec.match_id)
    with pytest.raises(LeaseHeld):
        await Leases(redis, "game-1", 5).acquire(spec.match_id)


async def test_no_server_can_own_a_match_that_does_not_exist(stores: Any) -> None:
    with pytest.raises(NoSuchMatch):
        await stores["s1"][0].acquire("nothing")


async def test_only_the_last_owner_may_write_anything(new_match: Any, stores: Any, redis: Redis) -> None:
    spec = await new_match("s1")
    old_leases, old = stores["s1"]
    new_leases, new = stores["s2"]
    first = await old_leases.acquire(spec.match_id)
    assert await old.commit([_commit(spec.match_id, first, 1, 2, b"old")]) == [CommitStatus.STORED]
    await _lapse(redis, spec.match_id)
    second = await new_leases.acquire(spec.match_id)

    assert await old.commit([_commit(spec.match_id, first, 3, 4, b"late")]) == [CommitStatus.FENCED]
    assert await old.advance([Advance(spec.match_id, first, 2, 3)]) == [CommitStatus.FENCED]
    assert not await old.finish(spec, first)
    assert not await old_leases.release(spec.match_id, first)
    assert not await old.recreate(spec, first, 0, b"old", 1, [])

    stored = await new.load(spec.match_id)
    assert stored is not None
    assert stored.snapshot == b"old"
    assert [event.sequence for event in stored.events] == [1, 2]
    assert stored.published == 0
    assert await redis.get(keys.lease(spec.match_id)) == b"s2:%d" % second


async def test_an_owner_that_was_stopped_continues_if_no_server_took_over(
    new_match: Any, stores: Any, redis: Redis
) -> None:
    spec = await new_match("s1")
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    await _lapse(redis, spec.match_id)
    assert await store.commit([_commit(spec.match_id, token, 1, 1)]) == [CommitStatus.STORED]
    with pytest.raises(LeaseHeld):
        await stores["s2"][0].acquire(spec.match_id)


async def test_a_lease_of_another_server_stops_every_write(new_match: Any, stores: Any, redis: Redis) -> None:
    """Let Redis lose the newest fencing token but keep the lease: the server with the older token writes nothing."""
    spec = await new_match("s1")
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    assert await store.commit([_commit(spec.match_id, token, 1, 2, b"snapshot")]) == [CommitStatus.STORED]
    await redis.set(keys.lease(spec.match_id), f"s2:{token}")
    assert await store.commit([_commit(spec.match_id, token, 3, 3)]) == [CommitStatus.FENCED]
    assert await store.advance([Advance(spec.match_id, token, 2, 3)]) == [CommitStatus.FENCED]
    assert not await store.finish(spec, token)
    assert not await leases.release(spec.match_id, token)
    stored = await store.load(spec.match_id)
    assert stored is not None
    assert (stored.published, [event.sequence for event in stored.events]) == (0, [1, 2])
    await redis.delete(keys.lease(spec.match_id))
    assert await store.advance([Advance(spec.match_id, token, 2, 3)]) == [CommitStatus.STORED]
    assert await store.finish(spec, token)


async def test_a_repeated_commit_adds_nothing(new_match: Any, stores: Any) -> None:
    spec = await new_match("s1")
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    await store.commit([_commit(spec.match_id, token, 1, 3)])
    assert await store.commit([_commit(spec.match_id, token, 1, 5)]) == [CommitStatus.STORED]
    stored = await store.load(spec.match_id)
    assert stored is not None
    assert [event.sequence for event in stored.events] == [1, 2, 3, 4, 5]
    assert stored.events[4] == decode(_commit(spec.match_id, 1, 5, 5).bodies[0])


async def test_commits_of_several_matches_do_not_affect_each_other(new_match: Any, stores: Any, redis: Redis) -> None:
    leases, store = stores["s1"]
    fine, fenced, lost = [await new_match("s1") for _ in range(3)]
    tokens = [await leases.acquire(spec.match_id) for spec in (fine, fenced, lost)]
    await leases.acquire(fenced.match_id)
    await redis.delete(*keys.of_match(lost.match_id))
    commits = [_commit(s.match_id, t, 1, 1) for s, t in zip((fine, fenced, lost), tokens, strict=True)]
    assert await store.commit(commits) == [CommitStatus.STORED, CommitStatus.FENCED, CommitStatus.FORGOTTEN]
    advances = [Advance(commit.match_id, commit.token, 1, 1) for commit in commits]
    assert await store.advance(advances) == [CommitStatus.STORED, CommitStatus.FENCED, CommitStatus.FORGOTTEN]


async def test_a_commit_without_redis_fails_and_is_logged() -> None:
    nowhere = Redis(host="127.0.0.1", port=9, socket_connect_timeout=0.2)
    assert await MatchStore(nowhere, "s1", LEASE).commit([_commit("m", 1)]) == [CommitStatus.FAILED]
    await nowhere.aclose()


async def test_a_lost_match_is_written_again_by_its_owner(new_match: Any, stores: Any, redis: Redis) -> None:
    spec = await new_match("s1")
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    await redis.flushdb()
    bodies = [encode(_event(n), spec.match_id, "region", "s1") for n in (4, 5)]
    assert await store.recreate(spec, token, 3, b"lost", 4, bodies)
    assert (await store.load(spec.match_id)).snapshot == b"lost"
    assert await store.commit([_commit(spec.match_id, token, 6, 6, b"snapshot")]) == [CommitStatus.STORED]
    stored = await store.load(spec.match_id)
    assert stored is not None
    assert (stored.spec, stored.published, stored.committed) == (spec, 3, 6)
    assert [event.sequence for event in stored.events] == [4, 5, 6]


async def test_each_match_of_a_call_has_its_own_result(new_match: Any, stores: Any, redis: Redis) -> None:
    leases, store = stores["s1"]
    specs = [await new_match("s1") for _ in range(4)]
    tokens = [await leases.acquire(spec.match_id) for spec in specs]
    await redis.delete(keys.fence(specs[1].match_id))
    await redis.set(keys.events(specs[3].match_id), "not a stream")
    outcomes = await store.commit(
        [
            _commit(specs[0].match_id, tokens[0], 1, 3, b"first"),
            _commit(specs[1].match_id, tokens[1], 1, 2, b"lost"),
            _commit(specs[2].match_id, tokens[2] - 1, 1, 1, b"fenced"),
            _commit(specs[3].match_id, tokens[3], 1, 2, b"broken"),
            _commit(specs[2].match_id, tokens[2], 1, 1),
        ]
    )
    assert outcomes == [
        CommitStatus.STORED,
        CommitStatus.FORGOTTEN,
        CommitStatus.FENCED,
        CommitStatus.FAILED,
        CommitStatus.STORED,
    ]
    assert await redis.get(keys.snapshot(specs[0].match_id)) == b"first"
    assert [await redis.exists(keys.snapshot(spec.match_id)) for spec in specs[1:]] == [0, 0, 0]
    first, third = [await store.load(specs[index].match_id) for index in (0, 2)]
    assert [event.sequence for event in first.events] == [1, 2, 3]
    assert [event.sequence for event in third.events] == [1]
    advances = [Advance(spec.match_id, token, 1, 2) for spec, token in zip(specs[:3], tokens, strict=False)]
    assert await store.advance(advances) == [CommitStatus.STORED, CommitStatus.FORGOTTEN, CommitStatus.STORED]
    assert [event.sequence for event in (await store.load(specs[0].match_id)).events] == [2, 3]


async def test_scripts_are_loaded_again_after_redis_forgot_them(redis: Redis) -> None:
    script = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await script.run(redis, ["n"], 2) == 2
    assert await script.run(redis, ["n"], 3) == 5
    await redis.script_flush()
    assert await script.run(redis, ["n"], 1) == 6
    with pytest.raises(RedisError):
        await script.run(redis, ["n"], "no number")


async def test_a_released_match_is_free_and_meant_for_its_successor(
    new_match: Any, stores: Any, directory: Directory
) -> None:
    spec = await new_match("s1")
    leases, _ = stores["s1"]
    token = await leases.acquire(spec.match_id)
    assert await leases.stale(10, 10) == []
    successor = msgspec.structs.replace(spec, server_id="s2")
    assert await leases.release(spec.match_id, token, msgspec.json.encode(successor))
    assert await leases.stale(10, 10) == [spec.match_id]
    assert await directory.specs([spec.match_id, "nothing"]) == [successor, None]
    assert await directory.owner(spec.match_id) is None


async def test_a_match_that_no_owner_reports_becomes_stale(new_match: Any, stores: Any, redis: Redis) -> None:
    spec = await new_match("s1")
    leases, _ = stores["s1"]
    assert await leases.stale(30, 10) == []
    await redis.zincrby(keys.ACTIVE_MATCHES, -31_000, spec.match_id)
    assert await leases.stale(30, 10) == [spec.match_id]
    await leases.touch([spec.match_id, "nothing"])
    assert await leases.stale(30, 10) == []


async def test_servers_are_listed_while_they_live(directory: Directory, redis: Redis) -> None:
    for server in (_server("busy", players=5), _server("idle"), _server("leaving", draining=True)):
        await directory.heartbeat(server)
    assert [server.id for server in await directory.servers()] == ["idle", "busy", "leaving"]
    await redis.zadd(keys.SERVERS, {"busy": (time.time() - 3) * 1000})
    await directory.deregister("leaving")
    assert [server.id for server in await directory.servers()] == ["idle"]


async def test_picks_spread_before_the_servers_report_them(directory: Directory) -> None:
    for name in ("s1", "s2"):
        await directory.heartbeat(_server(name))
    picked = [await directory.pick_server(4) for _ in range(5)]
    assert sorted(server.id for server in picked if server) == ["s1", "s1", "s2", "s2"]
    assert picked[4] is None


async def test_a_draining_or_full_server_is_not_picked(directory: Directory) -> None:
    await directory.heartbeat(_server("leaving", draining=True))
    await directory.heartbeat(_server("full", players=9))
    assert await directory.pick_server(2) is None


async def test_a_match_is_located_at_its_owner(directory: Directory, new_match: Any, stores: Any) -> None:
    spec = await new_match("s1")
    assert await directory.locate(spec.match_id) == (spec, None)
    await directory.heartbeat(_server("s3"))
    assert await directory.locate(spec.match_id) == (spec, _server("s3"))
    await directory.heartbeat(_server("s1", players=1))
    assert await directory.locate(spec.match_id) == (spec, _server("s1", players=1))
    await directory.heartbeat(_server("s2", players=2))
    await stores["s2"][0].acquire(spec.match_id)
    assert await directory.locate(spec.match_id) == (spec, _server("s2", players=2))
    assert await directory.locate("nothing") is None


async def test_an_open_match_is_offered_as_often_as_it_has_seats(
    directory: Directory, new_match: Any, stores: Any
) -> None:
    await directory.heartbeat(_server("s1"))
    spec = await new_match("s1", seats=4)
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    await store.commit([_commit(spec.match_id, token, 1, 1, b"one player")])
    offers = await asyncio.gather(*(directory.find_open("test") for _ in range(6)))
    assert [offer[0] for offer in offers if offer] == [spec] * 3

    await store.commit([Commit(spec.match_id, token, next(_NUMBERS), 2, [], b"four players", seats_taken=4)])
    assert await directory.find_open("test") is None
    await store.commit([Commit(spec.match_id, token, next(_NUMBERS), 2, [], b"three players", seats_taken=3)])
    assert await directory.find_open("test") is not None
    assert await directory.find_open("other") is None


async def test_seven_players_at_the_same_moment_get_two_matches_of_four_seats(
    redis: Redis, directory: Directory
) -> None:
    """Let seven callers read that no match is open, as seven API processes may. Only Redis coordinates the callers."""
    await directory.heartbeat(_server("s1", max_players=100))
    looked = asyncio.Barrier(7)

    async def quick_match(number: int) -> str:
        mine = Directory(redis)
        assert await mine.find_open("duel") is None
        await looked.wait()
        spec = MatchSpec(f"m{number}", "duel", 4, 60.0, "arena", time.time_ns() // 1_000_000, "s1")
        joined = await mine.create_unless_open(spec)
        return spec.match_id if joined is None else joined[0].match_id

    matches = Counter(await asyncio.gather(*map(quick_match, range(7))))
    assert sorted(matches.values()) == [3, 4]
    assert sorted(await directory.active_matches()) == sorted(matches)
    for number in range(7):
        kept = await redis.exists(keys.spec(f"m{number}"), keys.seats(f"m{number}"))
        assert kept == (2 if f"m{number}" in matches else 0)
    # The eighth caller gets the last free seat of the two matches, and the ninth caller gets no seat.
    last = await directory.find_open("duel")
    assert last is not None
    assert matches[last[0].match_id] == 3
    assert await directory.find_open("duel") is None


async def test_a_seat_that_was_kept_is_free_again_within_five_seconds(
    redis: Redis, directory: Directory, new_match: Any
) -> None:
    await directory.heartbeat(_server("s1"))
    spec = await new_match("s1", seats=2)
    assert await directory.find_open("test") is not None
    assert await directory.find_open("test") is not None
    assert await directory.find_open("test") is None
    # Two players never join, so the seats that were kept for them become free again by Redis's clock alone.
    started = time.monotonic()
    while await directory.find_open("test") is None:
        await directory.heartbeat(_server("s1"))
        await asyncio.sleep(0.1)
    assert 4 < time.monotonic() - started < 5 + 5
    promised = [int(until) for name, until in (await redis.hgetall(keys.seats(spec.match_id))).items()]
    seconds, _ = await redis.time()
    assert max(promised) <= (seconds + 1) * 1000 + 5000


async def test_a_match_whose_keys_are_gone_is_not_offered(directory: Directory, new_match: Any, redis: Redis) -> None:
    await directory.heartbeat(_server("s1"))
    spec = await new_match("s1")
    await redis.delete(*keys.of_match(spec.match_id))
    assert await directory.find_open("test") is None
    assert await redis.zcard(keys.open_matches("test")) == 0


async def test_a_finished_match_leaves_the_lists_and_expires(
    directory: Directory, new_match: Any, stores: Any, redis: Redis
) -> None:
    spec = await new_match("s1")
    leases, store = stores["s1"]
    token = await leases.acquire(spec.match_id)
    await store.commit([_commit(spec.match_id, token, 1, 1, b"snapshot")])
    assert await store.finish(spec, token)
    assert await directory.active_matches() == []
    for name in await redis.keys("{m:*"):
        assert 0 < await redis.ttl(name) <= keys.FINISHED_TTL_SECONDS


async def test_events_wait_for_a_topic_that_does_not_exist_yet(
    new_match: Any, stores: Any, aws: Any, eventually: Any
) -> None:
    clients = AwsClients(aws.region, aws.endpoint, threads=2, attempts=1)
    topic = f"arn:aws:sns:{aws.region}:000000000000:late-topic"
    leases, store = stores["s1"]
    spec = await new_match("s1")
    token = await leases.acquire(spec.match_id)
    await store.commit([_commit(spec.match_id, token, 1, 25, b"snapshot")])
    outbox = Outbox(spec.match_id, token, published=0, committed=25, snapshotted=25, ended=True)
    done: list[str] = []
    publisher = Publisher(store, clients, topic)
    publisher.on_done = done.append
    publisher.track(outbox)
    task = asyncio.create_task(publisher.run())

    async def failed() -> bool:
        return publisher.calls_failed >= 2

    async def finished() -> bool:
        return done == [spec.match_id]

    await eventually(failed)
    assert (publisher.backlog, outbox.published) == (25, 0)
    assert publisher.lag_seconds > 0
    await asyncio.to_thread(clients.sns.create_topic, Name="late-topic")
    await eventually(finished)
    assert (publisher.events_published, publisher.backlog, publisher.lag_seconds) == (25, 0, 0)
    stored = await store.load(spec.match_id)
    assert stored is not None
    assert (stored.published, stored.events) == (25, [])
    await end_tasks([task])
    clients.close()
    clients.sns.close()
