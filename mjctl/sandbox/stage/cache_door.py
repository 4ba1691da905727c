"""Runs a door: a proxy in front of the nodes of an emulated ElastiCache replication group, which checks log-ins by IAM.

A door decrypts TLS, because the Valkey that pip installs supports no TLS. Valkey cannot check log-ins by IAM either, so
a door reads the commands of a client up to the client's log-in. The door sends the password of a user who logs in by
IAM to ministack's process. If ministack's process allows the log-in, the door replaces the password by a password that
Valkey accepts. After the log-in, the door forwards the client's bytes without reading them.

Each replication group has its own door, so that an error in one door cannot affect another group.

Usage: python -m mjctl.sandbox.stage.cache_door FILE
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mjctl.sandbox.stage.callers import pid_of_peer
from mjctl.sandbox.stage.peers import is_own_user
from mjctl.sandbox.stage.question_server import ask

_HANDSHAKE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_BACKLOG = 512
# A client on Linux gives up an attempt to connect after about two minutes without an answer.
_IGNORE_SECONDS = 130.0
# Before a client's log-in, Valkey also accepts at most 10 parts in a command, and at most 16,384 bytes in a part.
_MOST_PARTS, _LONGEST_PART = 10, 16_384
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
_CONNECTION_SECONDS = 12 * 3600.0
_REFUSAL = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


class CacheDoor:
    """Listens at the addresses of all nodes of a replication group, and forwards the connections to the nodes."""

    def __init__(self, file: Path, *, connection_seconds: float = _CONNECTION_SECONDS) -> None:
        """Create a door that does not listen yet.

        Args:
            file: The door's settings, a private file with JSON. `log_in` is the Unix socket of
                mjctl.sandbox.stage.cache_login. `password` is the password that the nodes accept for users who log in
                by IAM. `nodes` maps the address of each node to the node's Unix socket. `folders` are the folders in
                which the nodes' processes run. `certificate` and `key` are null for a group without TLS. The other
                fields are `account`, `region`, `group` and `port`. The door reads the file again after each change of
                the file.
            connection_seconds: The seconds after which the door closes a connection whose user logged in by IAM.
        """
        self._file = file
        self._seconds = connection_seconds
        self._settings: dict[str, Any] = {}
        self._modified = 0
        self._context: ssl.SSLContext | None = None
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept connections until the coroutine `serve` is cancelled."""
        try:
            while True:
                modified = self._file.stat().st_mtime_ns
                if modified != self._modified:
                    self._modified = modified
                    self._load()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            remaining = list(self._tasks)
            for task in remaining:
                task.cancel()
            await asyncio.gather(*remaining, return_exceptions=True)

    def _load(self) -> None:
        self._settings = json.loads(self._file.read_text(encoding="utf-8"))
        if self._settings["certificate"]:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(self._settings["certificate"], self._settings["key"])
        nodes = self._settings["nodes"]
        for address in set(self._listeners) - set(nodes):
            self._listeners.pop(address).cancel()
        for address in set(nodes) - set(self._listeners):
            listener = socket.create_server((address, self._settings["port"]), backlog=_BACKLOG)
            listener.setblocking(False)
            self._listeners[address] = self._begin(self._accept(listener))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    connection, peer = await asyncio.get_running_loop().sock_accept(listener)
                except OSError:
                    # This process has reached its limit of open files. Try again after other connections have ended.
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                self._begin(self._handle(connection, peer))

    async def _handle(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        own = connection.getsockname()
        # A connection from a node is a replica's connection to its primary, or moves keys to another shard. The nodes
        # log in with the password of the administrator, and need no TLS on this machine.
        is_node = peer[0] in self._settings["nodes"]
        with ExitStack() as stack:
            stack.enter_context(connection)
            # On AWS, only computers in the VPC reach a node. On the stage, every user of this machine could connect.
            if not await asyncio.to_thread(is_own_user, peer, own):
                return
            if not is_node:
                pid = await asyncio.to_thread(pid_of_peer, peer, own)
                # A node that moves keys does not connect from its own address.
                is_node = pid is not None and _folder_of(pid) in self._settings["folders"]
                if pid is not None and not is_node and await self._is_unreachable(pid):
                    await _ignore(connection)
                    return
            try:
                reader, writer = await _open(connection, None if is_node else self._context)
            except (OSError, TimeoutError):
                # The client has closed the connection, or does not speak TLS.
                return
            # `_connect` closes the connection through its writer.
            stack.pop_all()
        await self._connect(reader, writer, self._settings["nodes"].get(own[0], ""), is_node=is_node)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: str, *, is_node: bool
    ) -> None:
        expiry: list[asyncio.TimerHandle] = []
        try:
            behind_reader, behind_writer = await asyncio.open_unix_connection(backend)
            ways = [asyncio.create_task(_forward(behind_reader, writer))]
            try:
                if not is_node:
                    await self._forward_until_logged_in(reader, behind_writer, writer, expiry, ways[0])
                ways.append(asyncio.create_task(_forward(reader, behind_writer)))
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                behind_writer.close()
        except (OSError, EOFError, ValueError, TimeoutError):
            # The client has closed the connection or does not speak Redis's protocol, or the node does not run.
            return
        finally:
            for timer in expiry:
                timer.cancel()
            writer.close()

    async def _forward_until_logged_in(
        self,
        reader: asyncio.StreamReader,
        behind: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        expiry: list[asyncio.TimerHandle],
        backwards: asyncio.Task[None],
    ) -> None:
        while True:
            reading = asyncio.ensure_future(read_command(reader))
            await asyncio.wait((reading, backwards), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                raise EOFError
            command = reading.result()
            position = user_position(command)
            if position is None:
                behind.write(packed(command))
                await behind.drain()
                continue
            answer = await self._ask(user=command[position].decode(), password=command[position + 1].decode())
            if answer["refused"]:
                writer.write(_REFUSAL)
                await writer.drain()
                continue
            if answer["iam"]:
                command[position + 1] = self._settings["password"].encode()
                expiry.append(asyncio.get_running_loop().call_later(self._seconds, writer.transport.abort))
            behind.write(packed(command))
            await behind.drain()
            return

    async def _is_unreachable(self, pid: int) -> bool:
        """Return whether the security groups forbid the process `pid` to connect."""
        try:
            return (await self._ask(pid=pid))["refused"]
        except (OSError, ValueError, TimeoutError):
            return True

    async def _ask(self, **more: str | int) -> dict[str, bool]:
        question = {name: self._settings[name] for name in ("account", "region", "group")}
        return await ask(self._settings["log_in"], {**question, **more})


def _folder_of(pid: int) -> str | None:
    """Return the working folder of a process, or None if the process has ended."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return None


async def _ignore(connection: socket.socket) -> None:
    """Read until the client closes the connection, and send nothing, as a security group drops packets."""
    loop = asyncio.get_running_loop()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_IGNORE_SECONDS):
            while await loop.sock_recv(connection, 1 << 12):
                continue


async def _open(
    connection: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the streams of an accepted connection.

    With a `context`, complete the TLS handshake before returning the streams.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    timeout = _HANDSHAKE_SECONDS if context is not None else None
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, connection, ssl=context, ssl_handshake_timeout=timeout
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """Read one command of a client that has not logged in yet.

    Raises:
        ValueError: the client does not speak Redis's protocol, or the command is longer than a log-in can be.
        EOFError: the client has closed the connection.
    """
    count = await _number(reader, b"*")
    if not 0 < count <= _MOST_PARTS:
        raise ValueError("a command with too many parts")
    parts = []
    for _ in range(count):
        length = await _number(reader, b"$")
        if not 0 <= length <= _LONGEST_PART:
            raise ValueError("a part that is too long")
        parts.append((await reader.readexactly(length + 2))[:-2])
    return parts


async def _number(reader: asyncio.StreamReader, kind: bytes) -> int:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("a line that is too long") from None
    if line[:1] != kind:
        raise ValueError("a line of another kind")
    return int(line[1:])


def packed(parts: Sequence[bytes]) -> bytes:
    """Return the bytes of a command in Redis's protocol."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def user_position(command: Sequence[bytes]) -> int | None:
    """Return the index of the user's name in a log-in command, or None if the command is no log-in with a name."""
    upper = [part.upper() for part in command]
    if upper[0] == b"AUTH" and len(command) == 3:
        return 1
    if upper[0] == b"HELLO" and b"AUTH" in upper[:-2]:
        return upper.index(b"AUTH") + 1
    return None


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()


def main(arguments: Sequence[str]) -> None:
    """Run the door that the file `arguments[0]` describes until a signal ends the process."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(CacheDoor(Path(arguments[0])).serve())


if __name__ == "__main__":
    main(sys.argv[1:])
