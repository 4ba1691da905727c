"""Tests the door of a cache, a proxy in front of Valkey: its log-ins, replaced commands and closed connections."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.cache_door import CacheDoor, packed, read_command, user_position

pytestmark = pytest.mark.timeout(60)

PORT = 6379
REFUSAL = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


class Node:
    """Replaces Valkey and ministack's process in a test: answers commands with OK, and decides on log-ins."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.commands: list[list[bytes]] = []
        self.questions: list[dict[str, str]] = []
        self.pids: list[int] = []
        self.unreachable = False

    async def start(self) -> None:
        self.servers = [
            await asyncio.start_unix_server(self._serve, self.folder / "node.sock"),
            await asyncio.start_unix_server(self._decide, self.folder / "login.sock"),
        ]
        self.write({self.address: str(self.folder / "node.sock")})

    def write(self, nodes: dict[str, str]) -> None:
        settings = {"account": "1", "region": "r", "group": "g", "port": PORT, "password": "secret", "nodes": nodes}
        more = {"log_in": str(self.folder / "login.sock"), "certificate": None, "key": None, "folders": []}
        (self.folder / "door.json").write_text(json.dumps({**settings, **more}), encoding="utf-8")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.commands.append(await read_command(reader))
                writer.write(b"+OK\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            writer.close()

    async def _decide(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = json.loads(await reader.readline())
        if "pid" in question:
            self.pids.append(question["pid"])
            writer.write(json.dumps({"refused": self.unreachable, "iam": False}).encode() + b"\n")
            writer.close()
            return
        self.questions.append(question)
        iam = question["user"].startswith("iam")
        answer = {"refused": question["password"] == "wrong", "iam": iam}
        writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    addresses = Addresses(tmp_path)
    tasks: list[asyncio.Task[None]] = []
    nodes: list[Node] = []

    async def started(**options: float) -> tuple[Node, asyncio.StreamReader, asyncio.StreamWriter]:
        node = Node(tmp_path, addresses.of("node"))
        nodes.append(node)
        await node.start()
        tasks.append(asyncio.create_task(CacheDoor(tmp_path / "door.json", **options).serve()))
        for _ in range(100):
            try:
                return (node, *await asyncio.open_connection(node.address, PORT))
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
        raise AssertionError("the door does not listen")

    yield started
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for server in [server for node in nodes for server in node.servers]:
        server.close()
    await asyncio.sleep(0.05)
    addresses.close()


async def test_the_password_of_an_iam_user_is_replaced(start: Callable[..., Any]) -> None:
    node, reader, writer = await start()
    writer.write(packed([b"PING"]) + packed([b"HELLO", b"3", b"AUTH", b"iam-a", b"token"]) + packed([b"GET", b"a"]))
    assert await reader.readexactly(15) == b"+OK\r\n" * 3
    assert node.commands == [[b"PING"], [b"HELLO", b"3", b"AUTH", b"iam-a", b"secret"], [b"GET", b"a"]]
    assert node.questions == [{"account": "1", "region": "r", "group": "g", "user": "iam-a", "password": "token"}]
    writer.close()


async def test_a_user_with_a_password_reaches_the_node_unchanged(start: Callable[..., Any]) -> None:
    node, reader, writer = await start()
    writer.write(packed([b"AUTH", b"plain", b"password"]))
    assert await reader.readexactly(5) == b"+OK\r\n"
    assert node.commands == [[b"AUTH", b"plain", b"password"]]
    writer.close()


async def test_a_refused_log_in_reaches_no_node_and_can_be_repeated(start: Callable[..., Any]) -> None:
    node, reader, writer = await start()
    writer.write(packed([b"AUTH", b"iam-a", b"wrong"]))
    assert await reader.readexactly(len(REFUSAL)) == REFUSAL
    writer.write(packed([b"AUTH", b"iam-a", b"right"]))
    assert await reader.readexactly(5) == b"+OK\r\n"
    assert node.commands == [[b"AUTH", b"iam-a", b"secret"]]
    writer.close()


async def test_a_connection_with_an_iam_log_in_ends_after_its_longest_life(start: Callable[..., Any]) -> None:
    _, reader, writer = await start(connection_seconds=0.5)
    writer.write(packed([b"AUTH", b"iam-a", b"token"]))
    assert await reader.readexactly(5) == b"+OK\r\n"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await asyncio.wait_for(reader.readexactly(1), 10)
    writer.close()


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$99999999\r\n", b"*100\r\n", b"*x\r\n", b"*0\r\n", b"a" * 100_000],
    ids=["http", "a long part", "many parts", "no number", "no part", "a long line"],
)
async def test_a_client_that_does_not_speak_the_protocol_is_disconnected(
    start: Callable[..., Any], garbage: bytes
) -> None:
    node, reader, writer = await start()
    writer.write(garbage)
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert node.commands == []
    writer.close()


async def test_a_changed_file_opens_and_closes_addresses(start: Callable[..., Any], tmp_path: Path) -> None:
    node, _, writer = await start()
    writer.close()
    other = node.address.rpartition(".")[0] + ".200"
    node.write({other: str(tmp_path / "node.sock")})
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection(other, PORT)
            writer.close()
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    else:
        raise AssertionError("the new address does not listen")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(node.address, PORT)


async def test_a_connection_that_security_groups_do_not_allow_gets_no_answer(start: Callable[..., Any]) -> None:
    node, reader, writer = await start()
    writer.write(packed([b"PING"]))
    assert await reader.readexactly(5) == b"+OK\r\n"
    writer.close()
    assert node.pids == [os.getpid()]
    node.unreachable = True
    reader, writer = await asyncio.open_connection(node.address, PORT)
    writer.write(packed([b"PING"]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 1)
    writer.close()
    assert node.commands == [[b"PING"]]


@pytest.mark.parametrize(
    ("command", "position"),
    [
        ([b"auth", b"user", b"password"], 1),
        ([b"AUTH", b"password"], None),
        ([b"HELLO", b"3", b"AUTH", b"user", b"password", b"SETNAME", b"a"], 3),
        ([b"hello", b"2", b"setname", b"a", b"auth", b"user", b"password"], 5),
        ([b"HELLO", b"3"], None),
        ([b"HELLO", b"3", b"AUTH", b"user"], None),
        ([b"SET", b"AUTH", b"a"], None),
    ],
)
def test_the_user_of_a_log_in_is_recognised(command: list[bytes], position: int | None) -> None:
    assert user_position(command) == position
