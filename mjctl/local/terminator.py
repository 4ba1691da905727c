"""Terminates TLS for a server that was built without TLS, e.g. the servers in the wheels of Valkey and PostgreSQL.

The server behind the terminator listens on no port, but on a Unix socket in a folder that only this user may enter. The
terminator binds the port and forks a child, which terminates TLS and forwards the bytes. After the fork, the terminator
replaces itself by the server, so that the supervisor controls the server as it would without TLS. The terminator's
child ends when the server ends.

Usage: python -m mjctl.local.terminator [--address ADDRESS] --port N --socket PATH --certificate PATH --key PATH
    [--postgres] -- SERVER...
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# The formats of the messages in PostgreSQL's protocol:
# https://www.postgresql.org/docs/current/protocol-message-formats.html
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x30"
_REFUSAL = b"SFATAL\x00VFATAL\x00C28000\x00Mthis server takes connections with TLS only\x00\x00"

_HANDSHAKE_SECONDS = 5.0
_BIND_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_CHUNK_BYTES = 1 << 16
_BACKLOG = 512


class Terminator:
    """Terminates TLS for the connections of a listening socket, and forwards their bytes to a server."""

    def __init__(self, context: ssl.SSLContext, backend: Path, *, postgres: bool) -> None:
        """Create a terminator that does not accept connections yet.

        Args:
            context: The TLS context with the region's certificate.
            backend: The Unix socket of the server.
            postgres: True if clients speak PostgreSQL's protocol, in which an unencrypted request for TLS comes first.
        """
        self._context = context
        self._backend = backend
        self._postgres = postgres

    async def serve_while_child_of(self, listener: socket.socket, parent: int) -> None:
        """Accept connections at `listener` until the process `parent` is no longer the parent of this process."""
        handshake = {} if self._postgres else {"ssl": self._context, "ssl_handshake_timeout": _HANDSHAKE_SECONDS}
        await asyncio.start_server(self._handle, sock=listener, backlog=_BACKLOG, **handshake)  # type: ignore[arg-type]
        # Poll the parent's id, because no portable event informs a child process that its parent has ended.
        while os.getppid() == parent:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._postgres and not await self._negotiated(reader, writer):
                return
            behind_reader, behind_writer = await asyncio.open_unix_connection(self._backend)
            try:
                await exchange((reader, behind_writer), (behind_reader, writer))
            finally:
                behind_writer.close()
        except (OSError, EOFError, TimeoutError):
            # Close the connection without a message if the client does not speak TLS, the client has left, or the
            # server does not listen yet.
            return
        finally:
            writer.close()

    async def _negotiated(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            request = await reader.readexactly(len(SSL_REQUEST))
            while request == GSS_REQUEST:
                writer.write(b"N")
                request = await reader.readexactly(len(SSL_REQUEST))
            if request != SSL_REQUEST:
                writer.write(b"E" + (len(_REFUSAL) + 4).to_bytes(4, "big") + _REFUSAL)
                return False
            writer.write(b"S")
            await writer.start_tls(self._context)
        return True


async def exchange(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Forward bytes in both directions until either side closes its connection."""
    tasks = [asyncio.create_task(_pass_on(source, target)) for source, target in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        target.write(chunk)
        await target.drain()


def _listen(address: str, port: int) -> socket.socket:
    """Bind the port, and retry for 5 seconds: the terminator of a killed server releases the port a moment later."""
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            return socket.create_server((address, port), backlog=_BACKLOG)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)


def _terminate_tls(listener: socket.socket, terminator: Terminator, parent: int) -> NoReturn:
    import uvloop

    # Ignore the signals that the supervisor sends to the whole process group: the child that terminates TLS must not
    # end before the server has finished its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(terminator.serve_while_child_of(listener, parent))
    os._exit(0)


def main(arguments: Sequence[str]) -> NoReturn:
    """Bind the port, fork the child that terminates TLS, and replace this process by the server."""
    parser = argparse.ArgumentParser(prog="python -m mjctl.local.terminator")
    parser.add_argument("--address", default="127.0.0.1", help="a loopback address of this machine")
    parser.add_argument("--port", type=int, required=True)
    for name in ("socket", "certificate", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("server", nargs="+")
    options = parser.parse_args(arguments)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    listener = _listen(options.address, options.port)
    parent = os.getpid()
    if os.fork() == 0:
        _terminate_tls(listener, Terminator(context, options.socket, postgres=options.postgres), parent)
    os.execv(options.server[0], options.server)  # noqa: S606 - the server must not run in a shell


if __name__ == "__main__":
    main(sys.argv[1:])
