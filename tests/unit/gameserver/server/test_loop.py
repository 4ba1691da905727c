from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gameserver.server.loop import GameLoop


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def _run(work: object) -> None:
    with asyncio.Runner(loop_factory=GameLoop) as runner:
        assert isinstance(runner.get_loop(), GameLoop)
        runner.run(work)  # type: ignore[arg-type]


def test_readers_are_called_until_they_are_removed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    received: list[bytes] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, lambda: received.append(b"first"))
        # A second call of `add_reader` for a socket replaces the first reader. The loop passes the last argument of
        # `add_reader`, the size 1, to the new reader.
        loop.add_reader(ours.fileno(), lambda size: received.append(ours.recv(size)), 1)
        theirs.send(b"ab")
        while len(received) < 2:  # noqa: ASYNC110 - nothing but the loop itself can tell
            await asyncio.sleep(0)
        assert loop.remove_reader(ours)
        assert not loop.remove_reader(ours)
        theirs.send(b"c")
        await asyncio.sleep(0.02)

    _run(work())
    assert received == [b"a", b"b"]


def test_a_reader_that_another_reader_removed_is_not_called() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def read(number: int) -> None:
            called.append(number)
            for ours, _ in pairs:
                loop.remove_reader(ours)

        for number, (ours, theirs) in enumerate(pairs):
            theirs.send(b"x")
            loop.add_reader(ours, read, number)
        await asyncio.sleep(0.02)

    _run(work())
    assert len(called) == 1
    for both in pairs:
        for side in both:
            side.close()


def test_a_held_socket_waits_for_its_owner(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    received: list[bytes] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, GameLoop)
        assert loop.hold(ours.fileno()) is None
        loop.add_reader(ours, lambda: received.append(ours.recv(1)))
        reader = loop.hold(ours.fileno())
        assert reader is not None
        assert loop.hold(ours.fileno()) is reader
        theirs.send(b"abc")
        await asyncio.sleep(0.02)
        assert received == []
        reader()
        assert received == [b"a"]
        loop.release(ours.fileno())
        loop.release(ours.fileno())
        while len(received) < 3:  # noqa: ASYNC110 - nothing but the loop itself can tell
            await asyncio.sleep(0)
        loop.hold(ours.fileno())
        assert loop.remove_reader(ours)
        loop.release(ours.fileno())
        # `remove_reader` also undoes `hold`, so the loop calls a reader that is added to the descriptor later.
        loop.add_reader(ours, lambda: received.append(ours.recv(1)))
        theirs.send(b"d")
        while len(received) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0)

    _run(work())
    assert received == [b"a", b"b", b"c", b"d"]


def test_servers_and_clients_of_asyncio_work_on_the_loop() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(5))
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        writer.close()
        server.close()
        await server.wait_closed()

    _run(work())
