"""Runs the stage's load balancers: `python -m mjctl.sandbox.stage.proxy DESCRIPTOR`.

The proxy inherits a socket from ministack's process. The proxy reads its routes from this socket, and writes its
reports to it. No other process can open the socket. When ministack's process ends, even by SIGKILL, Linux closes the
socket, and then the proxy ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable

from mjctl.sandbox.stage.balancing import Balancing
from mjctl.sandbox.stage.exchange import PlayerSide
from mjctl.sandbox.stage.peers import is_own_user
from mjctl.sandbox.stage.routes import ListenerRoute, PoolMember, Routes

_REPORT_SECONDS = 0.5
_LONGEST_LINE = 64 * 1024 * 1024
_BACKLOG = 1024
_HANDSHAKE_SECONDS = 10.0

logger = logging.getLogger("mjctl.sandbox.stage.proxy")


class SilentSide(asyncio.Protocol):
    """Accept connections and send nothing, like a load balancer whose security group drops the packets of a client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stop reading from the connection. asyncio calls this method."""
        if isinstance(transport, asyncio.ReadTransport):
            transport.pause_reading()


class ListeningEntrance:
    """Accepts the connections to one listener of a load balancer.

    Attributes:
        route: The current route of the listener.
    """

    def __init__(self, route: ListenerRoute, balancing: Balancing) -> None:
        self.route = route
        self._balancing = balancing
        self._server: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None

    def needs_restart(self, route: ListenerRoute) -> bool:
        """Return whether the proxy must open the listening socket again to use a new route."""
        return _socket_settings(route) != _socket_settings(self.route)

    async def listen(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the address or the port is not available, or the certificate cannot be read.
        """
        loop = asyncio.get_running_loop()
        make: Callable[[], asyncio.Protocol]
        context = None
        if self.route.obstacle:
            logger.warning(
                "%s:%d: players cannot connect: %s", self.route.address, self.route.port, self.route.obstacle
            )
            make = SilentSide
        else:
            context = _tls(self.route) if self.route.secure else None
            make = self._player
        self._server = await loop.create_server(
            make,
            self.route.address,
            self.route.port,
            ssl=context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
        )

    def close(self) -> None:
        """Stop listening. Open connections stay open."""
        if self._server is not None:
            self._server.close()

    def _player(self) -> PlayerSide:
        return PlayerSide(self, self._balancing, self._admits)

    def _admits(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether a process of the user who runs the stage opened the connection."""
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        return is_own_user(client[:2], server[:2])


class ProxyProcess:
    """Forwards requests by the routes that ministack's process sends."""

    def __init__(self) -> None:
        self._balancing = Balancing()
        self._entrances: dict[PoolMember, ListeningEntrance] = {}
        self._failed: dict[str, str] = {}
        self._following = asyncio.Lock()

    async def run(self, control: socket.socket) -> None:
        """Serve until the other end of `control` is closed."""
        reader, writer = await asyncio.open_unix_connection(sock=control, limit=_LONGEST_LINE)
        tasks = [asyncio.create_task(self._follow_routes(reader)), asyncio.create_task(self._report(writer))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionError:
            # ministack's process has ended.
            return
        finally:
            for task in tasks:
                task.cancel()
            for entrance in self._entrances.values():
                entrance.close()

    async def _follow_routes(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            async with self._following:
                await self._follow(Routes.from_line(line))

    async def _follow(self, routes: Routes) -> None:
        self._balancing.update(routes)
        wanted = {(route.address, route.port): route for route in routes.listeners}
        for place in [place for place in self._entrances if place not in wanted]:
            self._entrances.pop(place).close()
        self._failed = {}
        for place, route in wanted.items():
            entrance = self._entrances.get(place)
            if entrance is not None and not entrance.needs_restart(route):
                entrance.route = route
                continue
            if entrance is not None:
                self._entrances.pop(place).close()
            fresh = ListeningEntrance(route, self._balancing)
            try:
                await fresh.listen()
            except OSError as error:
                self._failed[f"{route.address}:{route.port}"] = str(error)
                logger.warning("cannot listen on %s:%d: %s", route.address, route.port, error)
            else:
                self._entrances[place] = fresh

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(self._balancing.report(sorted(self._entrances), self._failed).to_line().encode() + b"\n")
            await writer.drain()
            await asyncio.sleep(_REPORT_SECONDS)
            if self._failed:
                # A port that was in use can be free now, e.g. because a removed listener closes its port with a delay.
                async with self._following:
                    await self._follow(self._balancing.routes)


def _socket_settings(route: ListenerRoute) -> tuple[object, ...]:
    certificate = os.stat(route.certificate).st_mtime_ns if route.certificate else None
    return (route.secure, route.certificate, certificate, route.only_tls_1_3, route.obstacle)


def _tls(route: ListenerRoute) -> ssl.SSLContext:
    if route.certificate is None or route.key is None:
        raise OSError("the listener has no certificate that is issued")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if route.only_tls_1_3 else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(route.certificate, route.key)
    return context


def main(descriptor: int) -> None:
    """Run the proxy until ministack's process ends."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    # Ctrl-C sends SIGINT to all processes of a terminal. The proxy must end only when ministack ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    control.setblocking(False)
    process = ProxyProcess()
    try:
        import uvloop
    except ImportError:
        asyncio.run(process.run(control))
    else:
        uvloop.run(process.run(control))


if __name__ == "__main__":
    main(int(sys.argv[1]))
