"""Runs the door of the databases: a proxy in front of the PostgreSQL servers, which applies security groups.

PostgreSQL cannot apply security groups. The door accepts the connections at the addresses of all instances of Aurora.
For each connection, the door asks ministack's process whether the security groups allow the connection, and then
forwards the bytes to the instance's server without reading them. TLS ends in the server.

Usage: python -m mjctl.sandbox.stage.database_door FILE
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mjctl.sandbox.stage.callers import pid_of_peer
from mjctl.sandbox.stage.peers import is_own_user
from mjctl.sandbox.stage.question_server import ask

PORT = 5432
"""The port at which the door and the PostgreSQL servers listen, each at addresses of their own."""

_LOOK_SECONDS = 0.1
_BACKLOG = 256
# A client on Linux gives up an attempt to connect after about two minutes without an answer.
_IGNORE_SECONDS = 130.0


class DatabaseDoor:
    """Listens at the addresses of all instances, and forwards the connections to the servers."""

    def __init__(self, file: Path) -> None:
        """Create a door that does not listen yet.

        Args:
            file: The door's settings, a private file with JSON. `check` is the Unix socket that answers questions.
                `instances` maps the address of each instance to `behind`, the address of the instance's server, and to
                `account`, `region` and `cluster`. The door reads the file again after each change of the file.
        """
        self._file = file
        self._settings: dict[str, Any] = {"instances": {}}
        self._modified = 0
        self._servers: dict[str, asyncio.Server] = {}

    async def serve(self) -> None:
        """Accept connections until the coroutine `serve` is cancelled."""
        while True:
            modified = self._file.stat().st_mtime_ns
            if modified != self._modified:
                self._modified = modified
                await self._load()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _load(self) -> None:
        self._settings = json.loads(self._file.read_text(encoding="utf-8"))
        wanted = set(self._settings["instances"])
        for address in set(self._servers) - wanted:
            self._servers.pop(address).close()
        for address in wanted - set(self._servers):
            self._servers[address] = await asyncio.start_server(self._handle, address, PORT, backlog=_BACKLOG)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, own = writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[:2]
        instance = self._settings["instances"].get(own[0])
        try:
            # On AWS, only computers in the VPC reach an instance. On the stage, every user of this machine could
            # connect.
            if instance is None or not await asyncio.to_thread(is_own_user, peer, own):
                return
            if await self._is_unreachable(instance, peer, own):
                await _ignore(reader)
                return
            await _join(reader, writer, *await asyncio.open_connection(instance["behind"], PORT))
        except OSError:
            # The client has closed the connection, or the server does not run.
            return
        finally:
            writer.close()

    async def _is_unreachable(self, instance: dict[str, str], peer: tuple[str, int], own: tuple[str, int]) -> bool:
        """Return whether the security groups forbid the connection between the addresses `peer` and `own`."""
        pid = await asyncio.to_thread(pid_of_peer, peer, own)
        if pid is None:
            return False
        question = {name: instance[name] for name in ("account", "region", "cluster")}
        try:
            return bool((await ask(self._settings["check"], {**question, "pid": pid}))["refused"])
        except (OSError, ValueError, TimeoutError):
            return True


async def _ignore(reader: asyncio.StreamReader) -> None:
    """Read until the client closes the connection, and send nothing, as a security group drops packets."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_IGNORE_SECONDS):
            while await reader.read(1 << 12):
                continue


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    behind_reader: asyncio.StreamReader,
    behind_writer: asyncio.StreamWriter,
) -> None:
    """Forward bytes in both directions until the client or the server closes the connection."""
    ways = [
        asyncio.create_task(_forward(reader, behind_writer)),
        asyncio.create_task(_forward(behind_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        behind_writer.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()


def main(arguments: Sequence[str]) -> None:
    """Run the door that the file `arguments[0]` describes until a signal ends the process."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(DatabaseDoor(Path(arguments[0])).serve())


if __name__ == "__main__":
    main(sys.argv[1:])
