"""Tests that a client which sends too much, or which connects and never joins, does not affect other players."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from gameserver.protocol import MAX_INPUTS_PER_SECOND, MSGPACK, Hello, Input, Refused

_ALLOWED = 13 * MAX_INPUTS_PER_SECOND + 1
"""Frames that a client can send at once before it is disconnected. They are the worth of thirteen seconds: one second
starts the count, two more are accepted, and ten are dropped (docs/protocol.md, Bounds)."""

_PING, _PONG, _BINARY = 0x89, 0x8A, 0x82
_KINDS = {"pings": _PING, "pongs": _PONG, "inputs": _BINARY}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _frame(first: int, payload: bytes = b"") -> bytes:
    """Return a client's WebSocket frame, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + payload


async def _connect(url: str, source: str = "127.0.0.1") -> Streams:
    port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


@asynccontextmanager
async def _websocket(url: str, source: str = "127.0.0.1") -> AsyncIterator[Streams]:
    reader, writer = await _connect(url, source)
    try:
        writer.write(
            b"GET /play HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mj1.msgpack\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _frames(reader: asyncio.StreamReader, *, until: int | None = None) -> list[tuple[int, bytes]]:
    """Return the server's frames until the connection is closed, or until the first frame of the kind `until`."""
    frames = []
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        async with asyncio.timeout(60):
            while True:
                first, size = await reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                frames.append((first, await reader.readexactly(size)))
                if first == until:
                    break
    return frames


def _messages(frames: list[tuple[int, bytes]]) -> list[Any]:
    return [MSGPACK.decode_server(payload) for first, payload in frames if first == _BINARY]


@pytest.fixture
async def arena(start: Any, new_match: Any) -> tuple[Any, Any, str]:
    """Start a server with a long match, and yield the server, the match and the address."""
    server = await start()
    spec = await new_match(server.host.identity.server_id, seconds=60)
    return server, spec, server.host.identity.url


@pytest.mark.parametrize("seated", [True, False], ids=["seated", "unseated"])
@pytest.mark.parametrize("kind", _KINDS)
async def test_a_flood_of_any_kind_of_frame_ends_the_connection_at_once(
    arena: Any, issuer: Any, kind: str, seated: bool
) -> None:
    server, spec, url = arena
    async with _websocket(url) as (reader, writer):
        if seated or kind == "inputs":
            # Before the `Welcome`, the server ignores a client's inputs, but counts them as messages.
            token = issuer.token("mallory")
            writer.write(_frame(_BINARY, MSGPACK.encode(Hello(spec.match_id, token))))
        if seated:
            await _frames(reader, until=_BINARY)
        payload = MSGPACK.encode(Input(1, [0.0, 0.0])) if kind == "inputs" else b""
        started = time.monotonic()
        writer.write(_frame(_KINDS[kind], payload) * (_ALLOWED + 1))
        frames = await _frames(reader)
        # A client that floods the server is cut at once, while other refused clients have 3 s to read their last
        # messages.
        assert time.monotonic() - started < 2
    refusals = [message.code for message in _messages(frames) if isinstance(message, Refused)]
    assert refusals in ([], ["rate_limited"]), "the last message may be lost when the connection is cut"
    assert server.host.metrics.clients_dropped == 1
    assert server.host.metrics.inputs_dropped > 500
    assert sum(first == _PONG for first, _ in frames) <= 3 * MAX_INPUTS_PER_SECOND + 1


async def test_a_client_just_within_the_limits_stays(arena: Any) -> None:
    server, _, url = arena
    async with _websocket(url) as (reader, writer):
        writer.write(_frame(_PING) * (2 * MAX_INPUTS_PER_SECOND - 1))
        writer.write(_frame(_PING, b"last"))
        pongs = 0
        while (await _frames(reader, until=_PONG))[-1][1] != b"last":
            pongs += 1
        assert pongs == 2 * MAX_INPUTS_PER_SECOND - 1
    assert server.host.metrics.inputs_dropped == 0


async def test_frames_after_a_refusal_are_ignored(arena: Any) -> None:
    server, _, url = arena
    async with _websocket(url) as (reader, writer):
        writer.write(_frame(_BINARY, b"no hello") + _frame(_PING) * 50)
        frames = await _frames(reader)
    assert [message.code for message in _messages(frames)] == ["bad_message"]
    assert _PONG not in {first for first, _ in frames}
    assert server.host.metrics.protocol_errors == 1


async def test_a_client_that_does_not_read_receives_no_pongs(arena: Any, eventually: Any) -> None:
    server, _, url = arena
    async with _websocket(url) as (reader, writer):

        async def connected() -> bool:
            return len(server.host._connections) == 1

        await eventually(connected)
        (connection,) = server.host._connections
        connection.pause_writing()
        writer.write(_frame(_PING, b"while its buffer is full") * 5)

        async def counted() -> bool:
            return bool(connection._received == 5)

        await eventually(counted)
        connection.resume_writing()
        writer.write(_frame(_PING, b"after that"))
        assert await _frames(reader, until=_PONG) == [(_PONG, b"after that")]


@pytest.mark.parametrize("handshake", [True, False], ids=["websockets", "bare connections"])
async def test_connections_that_never_join_are_bounded_for_each_address(
    start: Any, new_match: Any, player: Any, eventually: Any, handshake: bool
) -> None:
    server = await start(unjoined_per_address=5)
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=60)
    async with AsyncExitStack() as stack:
        idle = []
        for _ in range(8):
            if handshake:
                idle.append(await stack.enter_async_context(_websocket(identity.url)))
            else:
                idle.append(await _connect(identity.url))
                stack.callback(idle[-1][1].close)

        async def eight_came() -> bool:
            return bool(server.host.metrics.unjoined_closed == 3)

        await eventually(eight_came)
        assert len(server.host._unjoined) == 5
        # The server has closed the oldest connections, so a player at the same address can join.
        for reader, _ in idle[:3]:
            assert not _messages(await _frames(reader))
        assert (await player("ada").join((spec.match_id, identity.url))).info.slot == 0
        assert server.host.players == 1


async def test_connections_that_never_join_are_bounded_in_total(
    start: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    server = await start(max_players=100, unjoined_percent=20, unjoined_per_address=0)
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=60)
    idle = [await _connect(identity.url, f"127.0.0.{2 + number}") for number in range(30)]

    async def all_came() -> bool:
        return bool(server.host.metrics.unjoined_closed == 10)

    await eventually(all_came)
    assert len(server.host._unjoined) == 20
    assert (await player("ada").join((spec.match_id, identity.url))).info.slot == 0
    for _, writer in idle:
        writer.close()


async def test_players_and_closed_connections_do_not_count_as_unjoined(
    start: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    server = await start(unjoined_per_address=3)
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=60, seats=8)
    for number in range(4):
        (await _connect(identity.url))[1].close()
        await player(f"p{number}").join((spec.match_id, identity.url))
    for number in range(4, 8):
        await player(f"p{number}").join((spec.match_id, identity.url))

    async def all_play() -> bool:
        return bool(server.host.players == 8)

    await eventually(all_play)
    assert server.host.metrics.unjoined_closed == 0


async def test_the_server_answers_while_floods_come_from_clients_that_reconnect(
    arena: Any, player: Any, eventually: Any
) -> None:
    server, spec, url = arena
    good = await player("good").join((spec.match_id, url))
    stop = asyncio.Event()

    async def flood() -> None:
        while not stop.is_set():
            with suppress(ConnectionError, asyncio.IncompleteReadError, AssertionError):
                async with _websocket(url, "127.0.0.2") as (reader, writer):
                    writer.write(_frame(_PING) * 3000)
                    await _frames(reader)

    flooders = [asyncio.create_task(flood()) for _ in range(4)]
    frames = good.samples.frames

    async def many_floods_came() -> bool:
        return server.host.metrics.clients_dropped >= 50 and good.samples.frames >= frames + 10

    await eventually(many_floods_came)
    stop.set()
    await asyncio.gather(*flooders)
    assert good.reconnects == 0
