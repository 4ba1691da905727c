"""Tests that matches and players leave a server that ECS stops, for a server that stays."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest
from redis.asyncio import Redis

from gameserver.cluster import departures, keys
from gameserver.cluster.departures import Departures
from gameserver.cluster.directory import Directory
from gameserver.protocol import MSGPACK, Hello, Redirect, Welcome


def _url(server: Any) -> str:
    return str(server.host.identity.private_url)


async def _wait_for(message: type, url: str, match_id: str, token: str, seated: asyncio.Event | None = None) -> Any:
    """Join a match by a plain WebSocket. Returns the first message of a type."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=("mj1.msgpack",)) as ws:
        await ws.send_bytes(MSGPACK.encode(Hello(match_id, token)))
        while True:
            received = MSGPACK.decode_server(await ws.receive_bytes())
            if isinstance(received, Welcome) and seated is not None:
                seated.set()
            if isinstance(received, message):
                return received


async def test_the_record_names_the_departing_servers_until_it_expires(redis: Redis) -> None:
    assert await departures.read(redis) == Departures()
    record = Departures(frozenset({"a"}), frozenset({"b", "c"}))
    await departures.write(redis, record)
    assert await departures.read(redis) == record
    assert 0 < await redis.pttl("server-departures") <= 10_000
    await redis.set("server-departures", b'{"stopping": 1}')
    assert await departures.read(redis) == Departures()


async def test_one_server_at_a_time_asks_ecs(redis: Redis, eventually: Any) -> None:
    assert [await departures.may_watch(redis, name, 0.2) for name in ("a", "b", "a")] == [True, False, False]
    await eventually(lambda: departures.may_watch(redis, "b", 0.2), 5)


async def test_a_server_that_ecs_stops_hands_its_match_over_to_a_server_that_stays(
    start: Any, new_match: Any, issuer: Any, redis: Redis, directory: Directory, eventually: Any
) -> None:
    servers = [await start(lease_seconds=600.0) for _ in range(4)]
    stopping, also_stopping, outdated, staying = (server.host.identity.server_id for server in servers)
    spec = await new_match(stopping, seconds=60.0)
    seated = asyncio.Event()
    redirect = asyncio.create_task(_wait_for(Redirect, _url(servers[0]), spec.match_id, issuer.token("ada"), seated))
    await asyncio.wait_for(seated.wait(), 60)
    await departures.write(redis, Departures(frozenset({stopping, also_stopping}), frozenset({outdated})))
    assert await asyncio.wait_for(redirect, 60) == Redirect(_url(servers[3]), "drain")

    async def adopted() -> bool:
        return await directory.owner(spec.match_id) == staying

    await eventually(adopted)
    [moved] = await directory.specs([spec.match_id])
    assert moved is not None
    assert (moved.server_id, moved.moves) == (staying, 1)
    assert time.time() * 1000 - moved.moved_at_ms < 60_000
    wanted = {
        stopping: (True, False),
        also_stopping: (True, False),
        outdated: (False, True),
        staying: (False, False),
    }

    async def announced() -> bool:
        return {server.id: (server.draining, server.outdated) for server in await directory.servers()} == wanted

    await eventually(announced, 5)


async def test_a_stop_by_ecs_outlasts_the_record(start: Any, redis: Redis, eventually: Any) -> None:
    server = await start()
    await departures.write(redis, Departures(frozenset({server.host.identity.server_id})))

    async def drains() -> bool:
        return bool(server.host.draining)

    await eventually(drains)
    await redis.delete("server-departures")
    await server.heartbeat.beat_once()
    assert server.host.draining


async def test_a_server_that_ecs_stops_sends_its_relayed_players_away(
    start: Any, new_match: Any, issuer: Any, redis: Redis
) -> None:
    shared = "ws://play.example.com/play"
    owner, relay = await start(play_url=shared), await start(play_url=shared)
    spec = await new_match(owner.host.identity.server_id, seconds=60.0)
    seated, direct = asyncio.Event(), asyncio.Event()
    playing = asyncio.create_task(_wait_for(Redirect, _url(owner), spec.match_id, issuer.token("ada"), direct))
    await asyncio.wait_for(direct.wait(), 60)
    relayed = asyncio.create_task(_wait_for(Redirect, _url(relay), spec.match_id, issuer.token("bob"), seated))
    await asyncio.wait_for(seated.wait(), 60)
    assert relay.host.metrics.relays == 1
    await departures.write(redis, Departures(frozenset({relay.host.identity.server_id})))
    assert await asyncio.wait_for(relayed, 60) == Redirect("", "drain")
    assert not playing.done()
    playing.cancel()


@pytest.mark.parametrize("successor_lives", [True, False])
async def test_a_player_of_a_match_that_has_just_moved_is_sent_to_the_successor(
    start: Any, new_match: Any, issuer: Any, redis: Redis, directory: Directory, successor_lives: bool
) -> None:
    """Join at a server behind the shared address of a load balancer, before the successor has adopted the match."""
    shared = "ws://play.example.com/play"
    reached, successor = await start(play_url=shared), await start(play_url=shared)
    names = [server.host.identity.server_id for server in (reached, successor)]
    meant = names[1] if successor_lives else "game-dead"
    spec = await new_match("game-gone", seconds=60.0)
    moved = msgspec.structs.replace(spec, server_id=meant, moves=1, moved_at_ms=time.time_ns() // 1_000_000)
    await redis.set(keys.spec(spec.match_id), msgspec.json.encode(moved))
    await asyncio.wait_for(_wait_for(Welcome, _url(reached), spec.match_id, issuer.token("ada")), 60)
    assert await directory.owner(spec.match_id) == names[1 if successor_lives else 0]


async def test_the_api_places_new_matches_on_servers_that_stay(
    start: Any, redis: Redis, directory: Directory, eventually: Any
) -> None:
    old, new = [(await start()).host.identity.server_id for _ in range(2)]
    await departures.write(redis, Departures(frozenset(), frozenset({old})))

    async def announced() -> bool:
        return any(server.outdated for server in await directory.servers())

    await eventually(announced)
    picks = {server.id for _ in range(6) if (server := await directory.pick_server(2)) is not None}
    assert picks == {new}
