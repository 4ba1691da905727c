"""Tests that every HTTP port disconnects a client that sends its headers or its body too slowly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web

from gameserver import api
from gameserver.http import hosting

_POST = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Yield the port of an application with short time limits."""
    monkeypatch.setattr(hosting, "_BODY_SECONDS", 0.2)
    monkeypatch.setattr(hosting, "_IDLE_SECONDS", 0.4)
    monkeypatch.setattr(hosting, "_LINGER_SECONDS", 0.2)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application(middlewares=[api._errors_as_json], client_max_size=1000)
    app.router.add_post("/echo", echo)
    runner = await hosting.listen(app, "127.0.0.1", 0)
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _until_closed(port: int, *parts: bytes, pause: float = 0.05) -> tuple[bytes, float]:
    """Send `parts`, and repeat the last part until the server closes the connection.

    Returns:
        The answer of the server, and the seconds until the server closed the connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()

    async def drip() -> None:
        for part in parts:
            writer.write(part)
        while True:
            await asyncio.sleep(pause)
            writer.write(parts[-1])

    dripping = asyncio.create_task(drip())
    answer = b""
    try:
        async with asyncio.timeout(60):
            # A part that arrives after the server has closed the connection resets the connection.
            with suppress(ConnectionResetError):
                while block := await reader.read(65536):
                    answer += block
        return answer, time.monotonic() - started
    finally:
        dripping.cancel()
        writer.close()


async def test_a_body_that_stops_is_answered_by_408(port: int) -> None:
    answer, seconds = await _until_closed(port, _POST + b"a", b"")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert seconds < 10


async def test_a_body_that_arrives_byte_by_byte_is_answered_by_408(port: int) -> None:
    answer, seconds = await _until_closed(port, _POST.replace(b"5", b"999"), b"a")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert seconds < 10


async def test_a_body_for_a_path_that_does_not_exist_is_limited_too(port: int) -> None:
    answer, _ = await _until_closed(port, _POST.replace(b"/echo", b"/none"), b"")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_whose_headers_never_end_is_closed(port: int) -> None:
    answer, seconds = await _until_closed(port, b"GET / HTTP/1.1\r\n", b"x: y\r\n")
    assert answer == b""
    assert seconds < 10


async def test_a_connection_without_a_request_is_closed(port: int) -> None:
    answer, seconds = await _until_closed(port, b"")
    assert answer == b""
    assert seconds < 10


async def test_a_complete_body_is_answered(port: int) -> None:
    answer, _ = await _until_closed(port, _POST + b"hello", b"")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hello")


async def test_a_body_that_is_too_large_is_refused(port: int) -> None:
    answer, _ = await _until_closed(port, _POST.replace(b"5", b"1001") + b"a" * 1001, b"")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer


async def test_a_client_that_disconnects_within_a_body_causes_no_internal_error(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_POST + b"a")
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert "unexpected_error" not in capsys.readouterr().out
