"""Runs the door of the databases: a proxy in front of the PostgreSQL servers of all Aurora clusters.

PostgreSQL can neither apply security groups nor check the tokens of log-ins by IAM. The door accepts the connections at
the addresses of all instances of Aurora. For each connection, the door asks ministack's process whether the security
groups allow the connection. The door then decrypts TLS, checks the log-in (mjctl.sandbox.stage.postgres_login), and
forwards the bytes of the client and of the server.

Usage: python -m mjctl.sandbox.stage.database_door FILE
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mjctl.local.terminator import exchange
from mjctl.sandbox.stage.callers import pid_of_peer
from mjctl.sandbox.stage.peers import is_own_user
from mjctl.sandbox.stage.postgres_login import PostgresLogIn
from mjctl.sandbox.stage.question_server import ask

PORT = 5432
"""The port at which the door listens, at the address of each instance."""

_LOOK_SECONDS = 0.1
_BACKLOG = 256
# A client on Linux gives up an attempt to connect after about two minutes without an answer.
_IGNORE_SECONDS = 130.0
_LOG_IN_SECONDS = 60.0


class DatabaseDoor:
    """Listens at the addresses of all instances, and forwards the connections to the servers."""

    def __init__(self, file: Path) -> None:
        """Create a door that does not listen yet.

        Args:
            file: The door's settings, a private file with JSON. `check` is the Unix socket that answers questions.
                `instances` maps the address of each instance to the instance's settings. `socket` is the Unix socket of
                the instance's server. `certificate` and `key` are the files of the instance's TLS certificate.
                `tls_required` refuses connections without TLS. `account`, `region` and `cluster` name the cluster. The
                door reads the file again after each change of the file.
        """
        self._file = file
        self._settings: dict[str, Any] = {"instances": {}}
        self._modified = 0
        self._servers: dict[str, asyncio.Server] = {}
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}

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
        files = {(instance["certificate"], instance["key"]) for instance in self._settings["instances"].values()}
        # Certificates for different DNS names are in different files, so a file never changes.
        self._contexts = {pair: self._contexts.get(pair) or _context(*pair) for pair in files}
        wanted = set(self._settings["instances"])
        for address in set(self._servers) - wanted:
            self._servers.pop(address).close()
        for address in wanted - set(self._servers):
            self._servers[address] = await asyncio.start_server(self._handle, address, PORT, backlog=_BACKLOG)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, own = writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[:2]
        instance = self._settings["instances"].get(own[0], {})
        context = self._contexts.get((instance.get("certificate", ""), instance.get("key", "")))
        try:
            # On AWS, only computers in the VPC reach an instance. On the stage, every user of this machine could
            # connect.
            if context is None or not await asyncio.to_thread(is_own_user, peer, own):
                return
            if await self._is_unreachable(instance, peer, own):
                await _ignore(reader)
                return
            await self._connect(instance, context, reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError):
            # The client has closed the connection or does not speak PostgreSQL's protocol, or the server does not run.
            return
        finally:
            writer.close()

    async def _connect(
        self,
        instance: dict[str, Any],
        context: ssl.SSLContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        # Connect to the server before the TLS handshake, so that a client learns at once that no server listens.
        behind_reader, behind_writer = await asyncio.open_unix_connection(instance["socket"])
        try:
            log_in = PostgresLogIn(
                (reader, writer),
                (behind_reader, behind_writer),
                context,
                lambda user, token: self._is_refused(instance, {"user": user, "token": token}),
            )
            async with asyncio.timeout(_LOG_IN_SECONDS):
                allowed = await log_in.run(tls_required=instance["tls_required"])
            if allowed:
                await exchange((reader, behind_writer), (behind_reader, writer))
        finally:
            behind_writer.close()

    async def _is_unreachable(self, instance: dict[str, Any], peer: tuple[str, int], own: tuple[str, int]) -> bool:
        """Return whether the security groups forbid the connection between the addresses `peer` and `own`."""
        pid = await asyncio.to_thread(pid_of_peer, peer, own)
        if pid is None:
            return False
        return await self._is_refused(instance, {"pid": pid})

    async def _is_refused(self, instance: dict[str, Any], what: dict[str, Any]) -> bool:
        """Ask ministack's process whether the door must refuse a process or a log-in."""
        question = {name: instance[name] for name in ("account", "region", "cluster")}
        try:
            return bool((await ask(self._settings["check"], {**question, **what}))["refused"])
        except (OSError, ValueError, TimeoutError):
            return True


async def _ignore(reader: asyncio.StreamReader) -> None:
    """Read until the client closes the connection, and send nothing, as a security group drops packets."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_IGNORE_SECONDS):
            while await reader.read(1 << 12):
                continue


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def main(arguments: Sequence[str]) -> None:
    """Run the door that the file `arguments[0]` describes until a signal ends the process."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(DatabaseDoor(Path(arguments[0])).serve())


if __name__ == "__main__":
    main(sys.argv[1:])
