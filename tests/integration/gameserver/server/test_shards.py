"""Tests of game servers on a state store in cluster mode. Most tests use two shards, each with a replica."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gameserver.client import Bot
from gameserver.cluster import keys
from gameserver.cluster.directory import Directory
from gameserver.match import MatchSpec
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.redis_connection import open_state
from gameserver.runtime.settings import Settings
from gameserver.runtime.state_cluster import StateCluster, slot_of
from tests.integration.gameserver.server.shards import StateShards, state_shards


@pytest.fixture
def shards(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StateShards]:
    """Run a state store with the number of shards that the test's parameter gives."""
    folder = tmp_path / "shards"
    folder.mkdir()
    with state_shards(folder, getattr(request, "param", 2)) as started:
        yield started


@pytest.fixture
def base(shards: StateShards, issuer: Any) -> Settings:
    return Settings(
        project="tests",
        environment="tests",
        region="us-east-1",
        state_url=shards.url,
        state_cluster=True,
        issuer=issuer.url,
        client_id="realtime-tests",
        jwks_url=issuer.jwks_url,
    )


@pytest.fixture
async def redis(base: Settings) -> AsyncIterator[Any]:
    """Replace the client of a single Redis that the other tests use."""
    aws = AwsClients("us-east-1")
    client = open_state(base, aws)
    yield client
    await client.aclose()
    aws.close()


@pytest.fixture
def settings(base: Settings, unused_tcp_port_factory: Any) -> Any:
    numbers = iter(range(1, 100))

    def make(**overrides: Any) -> Settings:
        values = {
            "server_id": f"game-us-east-1a-{next(numbers)}",
            "zone": "us-east-1a",
            "port": unused_tcp_port_factory(),
        }
        return dataclasses.replace(base, **{**values, **overrides})

    return make


async def matches_in_both_shards(directory: Directory, redis: StateCluster, server_id: str, seconds: float) -> Any:
    """Create a match in each shard, and return the specs by the slots' owners."""
    specs: dict[str, MatchSpec] = {}
    while len(specs) < 2:
        match_id = await directory.new_match_id(server_id)
        owner = redis.nodes_manager.slots_cache[slot_of(keys.tag(match_id))][0].name
        if owner not in specs:
            spec = MatchSpec(match_id, "test", 4, seconds, "arena", time.time_ns() // 1_000_000, server_id)
            await directory.create_match(spec)
            specs[owner] = spec
    return specs


async def play(player: Any, specs: Any, url: str) -> list[Any]:
    seats = [await player(f"player-{number}").join((spec.match_id, url)) for number, spec in enumerate(specs)]
    playing = [asyncio.create_task(Bot(seat).play()) for seat in seats]
    while not all(any(event.type == "player.scored" for event in seat.events.values()) for seat in seats):
        assert not any(bot.done() for bot in playing), "the match has ended before it was under way"
        await asyncio.sleep(0.02)
    return playing


def complete(reports: list[Any]) -> None:
    for report in reports:
        final = {entry["player_id"]: entry["score"] for entry in report.result["players"]}
        for event in report.events:
            if event.type == "player.scored":
                assert final[event.payload["player_id"]] >= event.payload["score"]


async def test_the_matches_of_a_server_are_spread_over_both_shards(
    start: Any, directory: Directory, redis: Any, player: Any, shards: StateShards
) -> None:
    server = await start()
    identity = server.host.identity
    specs = await matches_in_both_shards(directory, redis, identity.server_id, 4.0)
    playing = await play(player, specs.values(), f"ws://127.0.0.1:{server.host.identity.url.rsplit(':', 1)[1]}")
    for spec in specs.values():
        assert await redis.get(keys.snapshot(spec.match_id)) is not None
    for node in shards.primaries:
        assert any("{m:" in name for name in node.call("KEYS", "*")), "a shard has no match"
    complete(await asyncio.gather(*playing))
    assert (await directory.figures()).shards == 2


async def test_a_killed_servers_matches_of_both_shards_are_taken_over(
    spawn: Any, directory: Directory, redis: Any, player: Any
) -> None:
    owner, _ = await spawn(), await spawn(zone="us-east-1b")
    specs = await matches_in_both_shards(directory, redis, owner.settings.server_id, 8.0)
    playing = await play(player, specs.values(), f"ws://127.0.0.1:{owner.settings.port}")
    await asyncio.sleep(1)
    owner.signal(signal.SIGKILL)
    reports = await asyncio.gather(*playing)
    assert all(report.interruptions for report in reports)
    complete(reports)


async def test_a_drained_server_hands_the_matches_of_both_shards_over(
    spawn: Any, directory: Directory, redis: Any, player: Any
) -> None:
    owner, other = await spawn(), await spawn(zone="us-east-1b")
    specs = await matches_in_both_shards(directory, redis, owner.settings.server_id, 6.0)
    playing = await play(player, specs.values(), f"ws://127.0.0.1:{owner.settings.port}")
    await asyncio.sleep(1)
    owner.signal(signal.SIGTERM)
    assert await owner.wait() == 0
    for spec in specs.values():
        assert await directory.owner(spec.match_id) == other.settings.server_id
    complete(await asyncio.gather(*playing))


async def test_matches_survive_the_loss_of_a_shards_primary(
    start: Any, directory: Directory, redis: Any, player: Any, shards: StateShards
) -> None:
    server = await start()
    specs = await matches_in_both_shards(directory, redis, server.host.identity.server_id, 12.0)
    playing = await play(player, specs.values(), f"ws://127.0.0.1:{server.host.identity.url.rsplit(':', 1)[1]}")
    await shards.fail_over(1)
    reports = await asyncio.gather(*playing)
    complete(reports)
    assert not server.failed
    for spec in specs.values():
        assert await redis.get(keys.spec(spec.match_id)) is not None


async def test_a_match_continues_while_its_slot_moves_to_the_other_shard(
    start: Any, directory: Directory, redis: Any, player: Any, shards: StateShards
) -> None:
    server = await start()
    specs = await matches_in_both_shards(directory, redis, server.host.identity.server_id, 5.0)
    playing = await play(player, specs.values(), f"ws://127.0.0.1:{server.host.identity.url.rsplit(':', 1)[1]}")
    source, target = shards.primaries
    moved = specs[f"127.0.0.1:{source.port}"].match_id
    await asyncio.to_thread(shards.move_slot, slot_of(keys.tag(moved)), source, target)
    complete(await asyncio.gather(*playing))
    assert not server.failed
    assert keys.spec(moved) in target.call("KEYS", "*")


@pytest.mark.parametrize("shards", [1], indirect=True)
async def test_a_match_on_the_only_shard_survives_the_loss_of_its_primary(
    start: Any, directory: Directory, player: Any, shards: StateShards
) -> None:
    server = await start()
    server_id = server.host.identity.server_id
    match_id = await directory.new_match_id(server_id)
    spec = MatchSpec(match_id, "test", 4, 8.0, "arena", time.time_ns() // 1_000_000, server_id)
    await directory.create_match(spec)
    assert (await directory.figures()).shards == 1
    assert (await directory.figures()).policy == "noeviction"
    playing = await play(player, [spec], f"ws://127.0.0.1:{server.host.identity.url.rsplit(':', 1)[1]}")
    await shards.fail_over(0)
    complete(await asyncio.gather(*playing))
    assert not server.failed
    assert (await directory.figures()).shards == 1
