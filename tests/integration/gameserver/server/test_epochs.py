"""Tests of the epochs on a real DynamoDB emulator, a real state store with a replica, and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gameserver.cluster import keys
from gameserver.cluster.directory import Directory
from gameserver.cluster.epochs import Epochs, EpochUnavailable, UnknownMatch
from gameserver.cluster.lease import LeaseHeld, Leases
from gameserver.cluster.store import Commit, CommitStatus, MatchStore
from gameserver.events import RuleEvent
from gameserver.functions.services import Services
from gameserver.match import MatchSpec
from gameserver.persistence.results import Stats
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from gameserver.server.host import UnplayableError
from gameserver.server.process import GameServer
from gameserver.server.room import Room
from gameserver.worker import Worker
from mjctl.health.runner import run_health
from mjctl.local.programs import redis_binary
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Server
from tests.factories import contract_over
from tests.integration.conftest import EmulatedAws

LEASE = 30.0


class StateNode:
    """Runs a Redis without persistence. A replica writes the primary's data to `folder` nevertheless."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(
            [str(redis_binary()), *options, "--repl-diskless-sync-delay", "0", "--dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.url = f"redis://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def region(make_settings: Any) -> Settings:
    settings: Settings = make_settings()
    return settings


@pytest.fixture
async def services(region: Settings) -> AsyncIterator[Services]:
    services = Services(region)
    yield services
    await services.close()


@pytest.fixture
def epochs(region: Settings) -> Iterator[Epochs]:
    counted = Epochs.of(region)
    assert counted is not None
    yield counted
    counted.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[StateNode]]:
    nodes = [StateNode(tmp_path), StateNode(tmp_path)]
    yield nodes
    for node in nodes:
        node.kill()


async def _register(services: Services, match_id: str = "") -> MatchSpec:
    now = time.time_ns() // 1_000_000
    spec = MatchSpec(match_id or secrets.token_hex(8), "sprint", 4, 600.0, "arena", now, "game-1")
    await services.tables.register_match(
        spec.match_id, mode="sprint", seats=4, rules="arena", region="us-east-1", created_by="ada", created_at_ms=now
    )
    return spec


async def test_each_owner_gets_a_higher_epoch(services: Services, epochs: Epochs) -> None:
    match_id = (await _register(services)).match_id
    assert [await epochs.next(match_id, 0) for _ in range(3)] == [1, 2, 3]
    assert (await epochs.confirm(match_id, 3), await epochs.confirm(match_id, 2)) == (True, False)
    # A game server of version 0.1.0 has counted in Redis only.
    assert [await epochs.next(match_id, above) for above in (7, 7, 2)] == [8, 9, 10]
    many = await asyncio.gather(*(epochs.next(match_id, 10) for _ in range(8)))
    assert sorted(many) == list(range(11, 19))


async def test_the_first_epoch_is_above_the_tokens_of_version_0_1_0(services: Services, epochs: Epochs) -> None:
    match_id = (await _register(services)).match_id
    assert await epochs.next(match_id, 4) == 5


async def test_a_match_without_an_item_gets_no_epoch_and_no_item(services: Services, epochs: Epochs) -> None:
    with pytest.raises(UnknownMatch):
        await epochs.next("nothing", 0)
    assert not await epochs.confirm("nothing", 1)
    assert await services.tables.match("nothing") is None


async def test_an_owner_that_is_faster_than_a_take_over_keeps_the_newest_epoch(
    services: Services, epochs: Epochs, region: Settings, redis: Redis, directory: Directory
) -> None:
    """Let the owner renew an expired lease while another server asks DynamoDB for an epoch."""
    spec = await _register(services)
    await directory.create_match(spec)
    store = MatchStore(redis, "s1", LEASE)
    token = await Leases(redis, "s1", LEASE, epochs).acquire(spec.match_id)

    class Slow(Epochs):
        async def next(self, match_id: str, above: int) -> int:
            epoch = await super().next(match_id, above)
            commit = Commit(match_id, token, 1, 1, [b"event"], b"snapshot", seats_taken=1)
            assert await store.commit([commit]) == [CommitStatus.STORED]
            return epoch

    slow = Slow.of(region)
    await redis.delete(keys.lease(spec.match_id))
    with pytest.raises(LeaseHeld):
        await Leases(redis, "s2", LEASE, slow).acquire(spec.match_id)
    slow.close()
    assert await epochs.confirm(spec.match_id, token)
    # An epoch that another server has got since is not given back.
    assert [await epochs.next(spec.match_id, token) for _ in range(2)] == [token + 1, token + 2]
    await epochs.give_back(spec.match_id, token + 1)
    assert await epochs.confirm(spec.match_id, token + 2)


async def test_without_dynamodb_no_match_is_taken_over(
    services: Services,
    epochs: Epochs,
    region: Settings,
    redis: Redis,
    start: Any,
    directory: Directory,
    aws: EmulatedAws,
    tmp_path: Path,
) -> None:
    nowhere = Epochs(AwsClients("us-east-1", "http://127.0.0.1:9", threads=1, attempts=1), "matches")
    with pytest.raises(EpochUnavailable):
        await nowhere.next("m", 0)
    nowhere.close()

    spec = await _register(services)
    await directory.create_match(spec)
    owner, store = Leases(redis, "s1", LEASE, epochs), MatchStore(redis, "s1", LEASE)
    token = await owner.acquire(spec.match_id)
    server = await start(aws_endpoint_url="http://127.0.0.1:9", tables=region.tables)
    await redis.delete(keys.lease(spec.match_id))
    with pytest.raises(UnplayableError):
        await server.host.adopt(spec.match_id)
    assert server.host.metrics.epochs_unavailable >= 1
    contract = contract_over(region, aws.secret)
    url = f"http://127.0.0.1:{server.ops_port}"
    entry = Server(id=server.host.identity.server_id, zone="a", play_url="", ops_url=url)
    contract = contract.model_copy(update={"fleet": contract.fleet.model_copy(update={"servers": [entry]})})
    report = await run_health("local", {contract.region: contract}, {contract.region: tmp_path}, only=["server/*"])
    (check,) = report.results
    assert check.status is CheckStatus.FAIL
    assert "1 match waits to be started or taken over" in check.summary
    assert server.host.info().without_epoch == 1
    commit = Commit(spec.match_id, token, 1, 1, [b"event"], b"snapshot", seats_taken=1)
    assert await store.commit([commit]) == [CommitStatus.STORED]


async def test_an_acquisition_that_redis_lost_gives_no_token_twice(
    services: Services, epochs: Epochs, redis: Redis, directory: Directory
) -> None:
    """Forget the acquisition of s2, as a failover of Redis can: s3 gets a higher token."""
    spec = await _register(services)
    await directory.create_match(spec)
    servers = {name: Leases(redis, name, LEASE, epochs) for name in ("s1", "s2", "s3")}
    tokens = [await servers["s1"].acquire(spec.match_id)]
    with pytest.raises(LeaseHeld):
        await servers["s2"].acquire(spec.match_id)
    for name in ("s2", "s3"):
        await redis.set(keys.fence(spec.match_id), tokens[0])
        await redis.delete(keys.lease(spec.match_id))
        tokens.append(await servers[name].acquire(spec.match_id))
    assert tokens == [1, 2, 3]
    await redis.delete(keys.lease(spec.match_id))
    assert [await servers["s3"].confirm(spec.match_id, token) for token in tokens] == [False, False, True]


async def test_a_stale_owner_cannot_write_a_lost_match_again(
    services: Services, region: Settings, redis: Redis, start: Any, directory: Directory
) -> None:
    """Stop the owner A while B takes over, and lose the data of Redis before A wakes up."""
    spec = await _register(services)
    await directory.create_match(spec)
    aws = {"aws_endpoint_url": region.aws_endpoint_url, "tables": region.tables}
    stale, newest = await start(**aws), await start(**aws)
    room_of_stale = await stale.host.adopt(spec.match_id)
    room_of_stale.match.join("ada", "Ada", _now())
    # The room is not in the list of the committer while A is stopped.
    del stale.host.rooms[spec.match_id]
    await redis.delete(keys.lease(spec.match_id))
    room = await newest.host.adopt(spec.match_id)
    room.match.join("bob", "Bob", _now())
    del newest.host.rooms[spec.match_id]
    await redis.flushdb()

    await stale.host._recreate(room_of_stale)
    assert not await redis.exists(keys.fence(spec.match_id))
    assert (room_of_stale.closing, stale.host.metrics.matches_fenced) == (True, 1)
    # A server of version 0.1.0 does not ask DynamoDB, so a stale server of this version may be the first to write.
    await redis.set(keys.fence(spec.match_id), room_of_stale.outbox.token)
    await redis.xadd(keys.events(spec.match_id), {"e": b"stale"}, id="99-0")
    await newest.host._recreate(room)
    stored = await MatchStore(redis, "s", LEASE).load(spec.match_id)
    assert stored is not None
    assert stored.snapshot is not None
    assert [event.epoch for event in stored.events] == [room.outbox.token] * 2
    assert stored.committed == room.match.sequence == 2
    committed = await MatchStore(redis, newest.host.identity.server_id, LEASE).commit([room.prepare(0.0)])
    assert committed == [CommitStatus.STORED]


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
async def test_a_failover_that_loses_published_events_leaves_one_result(
    services: Services, region: Settings, nodes: list[StateNode], ended: bool, eventually: Any
) -> None:
    """Kill the primary of the state store and the owner, while the replica lags behind the published events."""
    primary, replica = nodes
    clients = [Redis.from_url(node.url) for node in nodes]
    for client in clients:
        await eventually(lambda client=client: _answers(client))
    await clients[1].execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
    await eventually(lambda: _linked(clients[1]))
    players = [secrets.token_hex(8) for _ in range(3)]
    ada, bob, eve = players

    stopping = asyncio.Event()
    worker = asyncio.create_task(Worker(services).work(stopping))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(GameServer.started(_server(region, "game-1", primary)))
        spec = await _register(services)
        await Directory(clients[0]).create_match(spec)
        room = await first.host.adopt(spec.match_id)
        for player in (ada, bob):
            room.match.join(player, player, _now())
        await _published(clients[0], room, eventually)
        assert await clients[0].execute_command("WAIT", 1, 5000) == 1
        # From now on the replica gets nothing. Eve joins, Ada scores and leaves, and all of it is published.
        await clients[1].execute_command("REPLICAOF", "NO", "ONE")
        room.match.join(eve, eve, _now())
        room.match._record_rule(RuleEvent("player.scored", 0, {"score": 12, "points": 12}), _now())
        room.match.leave(0, _now())
        if ended:
            room.match.end("time", _now())
        tail = room.match.sequence
        await _published(clients[0], room, eventually)
        await eventually(lambda: _stored(services, spec.match_id, tail, 1))
        if ended:
            assert (await services.results.stats(eve)).matches == 1
    primary.kill()

    async with GameServer.started(_server(region, "game-2", replica)) as second:
        await clients[1].delete(keys.lease(spec.match_id))
        room = await second.host.adopt(spec.match_id)
        assert room.outbox.token == 2
        room.match._record_rule(RuleEvent("player.scored", 1, {"score": 7, "points": 7}), _now())
        assert 3 < room.match.sequence <= tail
        room.match.rules.scores = lambda: {0: 3, 1: 7}  # type: ignore[method-assign]
        room.match.end("finished", _now())
        room._store_soon()

        async def settled() -> bool:
            record = await services.tables.match(spec.match_id)
            return record is not None and record.result is not None and record.result["reason"] == "finished"

        await eventually(settled)
    stopping.set()
    await worker
    for client in clients:
        await client.aclose()

    expected = [(bob, 7, 1), (ada, 3, 2)]
    record = await services.tables.match(spec.match_id)
    assert record is not None
    assert record.result is not None
    assert [(p["player_id"], p["score"], p["rank"]) for p in record.result["players"]] == expected
    async with services.database.connection() as connection:
        row = await connection.fetchrow("SELECT state, reason FROM matches WHERE match_id = $1", spec.match_id)
        rows = await connection.fetch(
            "SELECT player_id, score, rank, left_at FROM match_players WHERE match_id = $1 ORDER BY rank", spec.match_id
        )
    assert tuple(row) == ("ended", "finished")
    assert [tuple(row) for row in rows] == [(*player, None) for player in expected]
    assert [await services.results.stats(p) for p in players] == [Stats(1, 0, 3, 3), Stats(1, 1, 7, 7), Stats()]


def _server(region: Settings, server_id: str, node: StateNode) -> Settings:
    return dataclasses.replace(region, state_url=node.url, server_id=server_id, port=0, ops_port=0, lease_seconds=1.5)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (OSError, RedisError):
        return False


async def _linked(client: Redis) -> bool:
    return (await client.info("replication"))["master_link_status"] == "up"


async def _published(client: Redis, room: Room, eventually: Any) -> None:
    room._store_soon()
    match_id, sequence = room.match_id, room.match.sequence

    async def published() -> bool:
        return int(await client.get(keys.published(match_id)) or 0) >= sequence

    await eventually(published)


async def _stored(services: Services, match_id: str, sequence: int, epoch: int) -> bool:
    async with services.database.connection() as connection:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM processed_events WHERE event_id = $1", f"{match_id}:{epoch}:{sequence}"
            )
        )
