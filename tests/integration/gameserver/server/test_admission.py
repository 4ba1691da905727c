"""Tests of the admission of players, and of bad clients, which must not affect other players."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from redis.asyncio import Redis

from gameserver.client import Bot, JoinRefused
from gameserver.match import MatchSpec
from gameserver.protocol import (
    MAX_CLIENT_FRAME_BYTES,
    MAX_INPUTS_PER_SECOND,
    MSGPACK,
    Ended,
    Hello,
    Input,
    Leave,
    Ping,
    Pong,
    Redirect,
    Refused,
    Welcome,
)
from gameserver.rules.arena import Move
from gameserver.server import ops

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def _socket(url: str, protocol: str = "mj1.msgpack") -> AsyncIterator[Socket]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=(protocol,)) as ws:
        yield ws


async def _answer(ws: Socket, wanted: type[Any] | tuple[type[Any], ...]) -> Any:
    """Return the next message of a type in `wanted`, and skip other messages."""
    async with asyncio.timeout(10):
        while True:
            message = MSGPACK.decode_server(await ws.receive_bytes())
            if isinstance(message, wanted):
                return message


async def _hello(ws: Socket, *fields: Any) -> Any:
    await ws.send_bytes(MSGPACK.encode(Hello(*fields)))
    return await _answer(ws, (Welcome, Refused, Redirect))


@pytest.fixture
async def arena(start: Any, new_match: Any) -> tuple[Any, Any, str]:
    """Start a server with a long match, and yield the server, the match and the address."""
    server = await start()
    spec = await new_match(server.host.identity.server_id, seconds=60)
    return server, spec, server.host.identity.url


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"iss": "http://elsewhere"}, {"client_id": "other"}, {"token_use": "id"}],
    ids=lambda claims: next(iter(claims)),
)
async def test_an_invalid_token_is_refused(arena: Any, issuer: Any, claims: dict[str, Any]) -> None:
    _, spec, url = arena
    async with _socket(url) as ws:
        assert (await _hello(ws, spec.match_id, issuer.token("ada", **claims))).code == "bad_token"
        assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize("fields", [(), ("", "", "made-up-resume-token")])
async def test_a_client_without_a_token_is_refused(arena: Any, fields: tuple[str, ...]) -> None:
    _, spec, url = arena
    async with _socket(url) as ws:
        assert (await _hello(ws, spec.match_id, *fields)).code == "bad_token"


@pytest.mark.parametrize("groups", [["internal"], []], ids=["internal account", "player"])
async def test_internal_accounts_and_players_never_meet(
    start: Any, directory: Any, issuer: Any, groups: list[str]
) -> None:
    identity = (await start()).host.identity
    for internal in (True, False):
        spec = MatchSpec(
            f"m-{internal}", "test", 4, 60.0, "arena", time.time_ns() // 1_000_000, identity.server_id, internal
        )
        await directory.create_match(spec)
    token = issuer.token("ada", **{"cognito:groups": groups})
    async with _socket(identity.url) as ws:
        # A client cannot declare its account internal, because the `Hello` has no field for that.
        await ws.send_bytes(msgspec.msgpack.encode(["hello", f"m-{not groups}", token, "Ada", "", True, ["internal"]]))
        assert (await _answer(ws, (Welcome, Refused))).code == "bad_token"
    async with _socket(identity.url) as ws:
        assert isinstance(await _hello(ws, f"m-{bool(groups)}", token), Welcome)


async def test_an_unknown_match_is_refused(arena: Any, player: Any) -> None:
    with pytest.raises(JoinRefused, match="no_such_match"):
        await player("ada").join(("nothing", arena[2]))


async def test_a_full_match_is_refused(arena: Any, player: Any) -> None:
    _, spec, url = arena
    for number in range(spec.seats):
        await player(f"p{number}").join((spec.match_id, url))
    with pytest.raises(JoinRefused, match="match_full"):
        await player("late").join((spec.match_id, url))


async def test_another_server_redirects_to_the_owner(arena: Any, start: Any, issuer: Any, player: Any) -> None:
    _, spec, url = arena
    await player("ada").join((spec.match_id, url))
    other = (await start()).host.identity.url
    async with _socket(other) as ws:
        assert await _hello(ws, spec.match_id, issuer.token("bob")) == Redirect(url, "owner")
    joined = await player("bob").join((spec.match_id, other))
    assert joined.info.slot == 1


async def test_behind_one_address_a_server_relays_its_clients_to_the_owner(
    start: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    owner = await start(play_url="ws://play.test/")
    front = await start(play_url="ws://play.test/")
    spec = await new_match(owner.host.identity.server_id, seconds=2.0)
    direct = await player("ada").join((spec.match_id, owner.host.identity.private_url))
    carried = await player("bob").join((spec.match_id, front.host.identity.private_url))
    assert carried.info.server_id == owner.host.identity.server_id
    ada, bob = await asyncio.gather(Bot(direct).play(), Bot(carried).play())
    assert ada.result == bob.result
    assert bob.latency_ms
    assert (front.host.metrics.relays, owner.host.metrics.relays) == (1, 0)

    async def gone() -> bool:
        return front.host.connections == owner.host.connections == 0

    await eventually(gone)


async def test_a_player_who_connects_twice_plays_on_the_newer_connection(arena: Any, issuer: Any) -> None:
    _, spec, url = arena
    async with _socket(url) as first, _socket(url) as second:
        earlier = await _hello(first, spec.match_id, issuer.token("ada"))
        later = await _hello(second, spec.match_id, issuer.token("ada"))
        assert earlier.match.slot == later.match.slot
        assert (await _answer(first, Refused)).code == "replaced"
        await second.send_bytes(MSGPACK.encode(Ping(7)))
        assert await _answer(second, Pong) == Pong(7)


async def test_a_returning_player_needs_only_the_resume_token(arena: Any, issuer: Any) -> None:
    _, spec, url = arena
    async with _socket(url) as ws:
        welcome = await _hello(ws, spec.match_id, issuer.token("ada"), "Ada")
        await ws.send_bytes(MSGPACK.encode(Input(41, [1.0, 0.0])))
        await ws.send_bytes(MSGPACK.encode(Ping(1)))
        await _answer(ws, Pong)
    async with _socket(url) as ws:
        again = await _hello(ws, spec.match_id, "", "", welcome.match.resume)
        assert (again.match.slot, again.match.player_id, again.sequence) == (0, "ada", 41)
        assert [p.name for p in again.match.players] == ["Ada"]


async def test_a_player_who_disconnects_before_the_welcome_frees_the_seat(
    arena: Any, issuer: Any, player: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gameserver.server.room._UNWELCOMED_SECONDS", 0.2)
    server, spec, url = arena
    await player("ada").join((spec.match_id, url))
    room = server.host.rooms[spec.match_id]
    # From now on the server stores nothing, so it sends no `Welcome`, which waits until the seat is stored.
    monkeypatch.setattr(server.host.committer, "_rooms", list)
    async with _socket(url) as ws:
        await ws.send_bytes(MSGPACK.encode(Hello(spec.match_id, issuer.token("bob"))))

        async def seated() -> bool:
            return bool(room.match.seated == 2)

        await eventually(seated)

    async def free() -> bool:
        return bool(room.match.seated == 1)

    await eventually(free)
    assert [p.player_id for p in room.match.players()] == ["ada"]


async def test_leaving_ends_the_match_of_a_single_player(arena: Any, issuer: Any) -> None:
    _, spec, url = arena
    async with _socket(url) as ws:
        await _hello(ws, spec.match_id, issuer.token("ada"))
        await ws.send_bytes(MSGPACK.encode(Leave()))
        async with asyncio.timeout(5):
            while (await ws.receive()).type is aiohttp.WSMsgType.BINARY:
                continue
    async with _socket(url) as ws:
        assert (await _hello(ws, spec.match_id, issuer.token("ada"))).code in {"match_over", "no_such_match"}


async def test_the_result_can_be_fetched_after_the_end(start: Any, new_match: Any, issuer: Any) -> None:
    identity = (await start()).host.identity
    spec = await new_match(identity.server_id, seconds=0.3)
    async with _socket(identity.url) as ws:
        welcome = await _hello(ws, spec.match_id, issuer.token("ada"))
    await asyncio.sleep(0.6)
    async with _socket(identity.url) as ws:
        await _hello(ws, spec.match_id, "", "", welcome.match.resume)
        assert (await _answer(ws, Ended)).result["reason"] == "time"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x00" * 100, MSGPACK.encode(Input(1, None)), MSGPACK.encode(Hello("m" * 65))],
    ids=["empty", "no-msgpack", "zeros", "input", "long-id"],
)
async def test_a_first_message_that_is_no_hello_is_refused(arena: Any, data: bytes) -> None:
    async with _socket(arena[2]) as ws:
        await ws.send_bytes(data)
        assert (await _answer(ws, Refused)).code == "bad_message"


async def test_a_malformed_input_ends_only_its_own_connection(
    arena: Any, issuer: Any, player: Any, eventually: Any
) -> None:
    server, spec, url = arena
    good = await player("good").join((spec.match_id, url))
    async with _socket(url) as ws:
        await _hello(ws, spec.match_id, issuer.token("bad"))
        await ws.send_bytes(b"\xff" * 50)
        assert (await _answer(ws, Refused)).code == "bad_message"
    frames = good.samples.frames

    async def plays_on() -> bool:
        return bool(good.samples.frames > frames)

    await eventually(plays_on)
    assert good.reconnects == 0
    assert server.host.metrics.protocol_errors == 1


async def test_text_on_a_binary_connection_is_refused(arena: Any) -> None:
    async with _socket(arena[2]) as ws:
        await ws.send_str("hello")
        assert (await _answer(ws, Refused)).code == "bad_message"


async def test_a_frame_that_is_too_big_ends_the_connection(arena: Any) -> None:
    async with _socket(arena[2]) as ws:
        await ws.send_bytes(b"\x00" * (MAX_CLIENT_FRAME_BYTES + 1))
        assert (await ws.receive()).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}


async def test_a_client_that_does_not_read_is_dropped_without_an_effect_on_others(
    arena: Any, issuer: Any, player: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gameserver.server.room._SLOW_SECONDS", 0.5)
    server, spec, url = arena
    good = await player("good").join((spec.match_id, url))
    room = server.host.rooms[spec.match_id]
    with _deaf_client(url, MSGPACK.encode(Hello(spec.match_id, issuer.token("slow")))):

        async def seated() -> bool:
            return len(room.connections) == 2

        await eventually(seated)
        slow = next(c for c in room.connections if c.seat.player_id == "slow")
        while not slow.paused:
            # Large messages fill the kernel's buffers at once, while frames would need a minute.
            slow.send(Redirect("x" * 60_000))

        async def dropped() -> bool:
            return not slow.open

        await eventually(dropped)
    assert server.host.metrics.frames_skipped > 5
    assert server.host.metrics.clients_dropped == 1
    assert good.reconnects == 0
    assert good.samples.frames > 5


@contextmanager
def _deaf_client(url: str, hello: bytes) -> Iterator[socket.socket]:
    """Open a WebSocket, send a hello, and never read."""
    port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.sendall(
            b"GET /play HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mj1.msgpack\r\n\r\n"
        )
        # The bytes before `hello` are the header of an unfragmented binary frame with a 16-bit length and a mask of
        # zeros.
        raw.sendall(b"\x82\xfe" + struct.pack(">H", len(hello)) + b"\x00" * 4 + hello)
        yield raw


async def test_a_connection_without_hello_is_closed(arena: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gameserver.server.connection._HELLO_SECONDS", 0.2)
    async with _socket(arena[2]) as ws:
        assert (await _answer(ws, Refused)).code == "bad_message"


async def test_a_full_server_refuses_players(start: Any, new_match: Any, issuer: Any) -> None:
    server = await start(max_players=0)
    identity = server.host.identity
    spec = await new_match(identity.server_id)
    async with _socket(identity.url) as ws:
        assert (await _hello(ws, spec.match_id, issuer.token("ada"))).code == "unavailable"
    assert server.host.metrics.refusals == 1


@pytest.mark.parametrize(("path", "protocol", "status"), [("/other", "mj1.msgpack", 404), ("/play", "chat", 400)])
async def test_a_wrong_handshake_is_answered_with_an_http_error(
    arena: Any, path: str, protocol: str, status: int
) -> None:
    url = arena[2].removesuffix("/play")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with _socket(url + path, protocol):
            pass
    assert refused.value.status == status


async def test_bytes_that_are_no_http_do_not_affect_players(arena: Any, player: Any) -> None:
    server, spec, url = arena
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    for data in (b"", b"\x16\x03\x01" * 100, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.settimeout(0.2)
            raw.sendall(data)
    assert (await player("ada").join((spec.match_id, url))).info.slot == 0
    assert server.host.players == 1


async def test_the_operations_port_answers(arena: Any, player: Any) -> None:
    server, spec, url = arena
    await player("ada").join((spec.match_id, url))
    base = f"http://127.0.0.1:{server.ops_port}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/healthz") as answer:
            assert answer.status == 200
        async with session.get(f"{base}/readyz") as answer:
            assert answer.status == 200
        async with session.get(f"{base}/status") as answer:
            status = await answer.json()
        async with session.get(f"{base}/metrics") as answer:
            metrics = await answer.text()
    assert (status["players"], status["matches"], status["draining"]) == (1, 1, False)
    assert set(status) >= {
        "server_id",
        "zone",
        "region",
        "uptime_seconds",
        "pid",
        "tick_lateness_p99_ms",
        "max_players",
    }
    assert "gameserver_players 1.0" in metrics
    assert "gameserver_joins_total 1.0" in metrics
    assert "ada" not in metrics


async def test_operators_see_load_latency_and_lag(arena: Any, player: Any, eventually: Any) -> None:
    server, spec, url = arena
    ada = await player("ada").join((spec.match_id, url))
    metrics = server.host.metrics
    for _ in range(MAX_INPUTS_PER_SECOND + 1):
        ada.send_input(Move(1.0, 0.0))

    async def measured() -> bool:
        return bool(metrics.input_to_state) and metrics.frames_sent > 0

    await eventually(measured)
    # The delay of an input is about a tick, 50 ms at 20 Hz, and longer on a busy machine.
    assert 0 < metrics.input_to_state[0] < 5
    assert metrics.bytes_received > MAX_INPUTS_PER_SECOND
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.ops_port}/metrics") as answer,
    ):
        lines = dict(line.rpartition(" ")[::2] for line in (await answer.text()).splitlines() if line[0] != "#")
    assert lines["gameserver_players"] == lines["gameserver_matches"] == "1.0"
    for name in ("tick_lateness_seconds", "input_to_state_seconds"):
        assert float(lines[f'gameserver_{name}{{quantile="0.99"}}']) >= 0
    assert float(lines['gameserver_input_to_state_seconds{quantile="1.0"}']) > 0
    for name in ("bytes_sent_total", "bytes_received_total", "frames_sent_total", "inputs_total"):
        assert float(lines[f"gameserver_{name}"]) > 0
    assert float(lines["gameserver_event_lag_seconds"]) >= 0
    assert float(lines["gameserver_event_backlog"]) >= 0


async def test_a_draining_server_is_neither_serving_nor_ready(arena: Any) -> None:
    server = arena[0]
    assert await _statuses(server) == {"servingz": 200, "readyz": 200}
    await server.drain()
    assert await _statuses(server) == {"servingz": 503, "readyz": 503}


async def test_a_server_serves_its_players_while_the_state_store_does_not_answer(
    arena: Any, redis: Redis, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "_READY_SECONDS", 1.0)
    server = arena[0]
    await redis.execute_command("CLIENT", "PAUSE", 2500)

    async def not_ready() -> bool:
        return (await _statuses(server))["readyz"] == 503

    await eventually(not_ready)
    assert (await _statuses(server))["servingz"] == 200


async def _statuses(server: Any) -> dict[str, int]:
    """Return the HTTP status of each health check that depends on the state of a game server."""
    base = f"http://127.0.0.1:{server.ops_port}"
    statuses = {}
    async with aiohttp.ClientSession() as session:
        for path in ("servingz", "readyz"):
            async with session.get(f"{base}/{path}") as answer:
                statuses[path] = answer.status
    return statuses


class _Broken:
    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)

    def step(self) -> list[Any]:
        raise ZeroDivisionError


async def test_a_fault_in_the_rules_ends_only_its_match(arena: Any, new_match: Any, player: Any) -> None:
    server, spec, url = arena
    other = await new_match(server.host.identity.server_id, seconds=0.5)
    broken = await player("ada").join((spec.match_id, url))
    fine = await player("ada").join((other.match_id, url))
    match = server.host.rooms[spec.match_id].match
    match.rules = _Broken(match.rules)
    started = time.monotonic()
    assert (await broken.result())["reason"] == "error"
    assert time.monotonic() - started < 10
    assert (await Bot(fine).play()).result["reason"] == "time"
    assert server.host.metrics.matches_failed == 1
