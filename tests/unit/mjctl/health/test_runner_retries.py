"""Tests that a health check repeats an AWS call that failed at once, but not a call that timed out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mjctl.health import runner
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, UnreachableError

MakeContract = Callable[..., Contract]


@asynccontextmanager
async def api(*behaviours: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve an emulated AWS whose connections behave in turn as `behaviours` says.

    Args:
        behaviours: `reset`, `broken` (status 500), `hang` or `answer`, for each connection; the last behaviour repeats.

    Yields:
        The URL of the emulated AWS, and the list of the behaviours that its connections have shown.
    """
    seen: list[str] = []
    connections: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = behaviours[min(len(seen), len(behaviours) - 1)]
        seen.append(behaviour)
        connections.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if behaviour == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif behaviour == "hang":
                await reader.read()  # Wait until the client closes the connection.
            else:
                status = b"500 Oops" if behaviour == "broken" else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        await asyncio.gather(*filter(None, connections))


def contract_at(make_contract: MakeContract, url: str) -> Contract:
    return make_contract(aws={"account_id": "000000000000", "endpoint_url": url})


@pytest.mark.parametrize("first", ["reset", "broken"])
async def test_a_call_is_repeated_after_one_failure(make_contract: MakeContract, first: str) -> None:
    async with api(first, "answer") as (url, seen):
        with runner._clients(contract_at(make_contract, url)) as clients:
            await clients.call("dynamodb", "list_tables")
    assert seen == [first, "answer"]


async def test_a_call_that_fails_twice_is_an_error(make_contract: MakeContract) -> None:
    async with api("reset") as (url, seen):
        with runner._clients(contract_at(make_contract, url)) as clients, pytest.raises(UnreachableError):
            await clients.call("dynamodb", "list_tables")
    assert seen == ["reset", "reset"]


async def test_the_error_names_an_api_that_hangs_before_the_check_times_out(
    make_contract: MakeContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_AWS_TIMEOUT_SECONDS", 0.3)
    async with api("hang") as (url, seen):
        started = time.monotonic()
        with runner._clients(contract_at(make_contract, url)) as clients, pytest.raises(MjctlError) as caught:
            await clients.call("dynamodb", "list_tables")
        assert seen == ["hang"], f"{time.monotonic() - started:.1f} s"
    assert "dynamodb:list_tables" in caught.value.what
