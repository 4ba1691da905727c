"""The process `gameserver serve`, from its start to its drain."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gameserver import match
from gameserver.cluster import departures, draining
from gameserver.cluster.directory import Directory
from gameserver.cluster.epochs import Epochs
from gameserver.cluster.lease import Leases
from gameserver.cluster.publisher import Publisher
from gameserver.cluster.store import MatchStore
from gameserver.http.hosting import make_runner
from gameserver.modes import check_modes
from gameserver.protocol import MAX_CLIENT_FRAME_BYTES, choose_codec
from gameserver.runtime import ecs, logs
from gameserver.runtime.auth import TokenVerifier
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.crypto import Sealer
from gameserver.runtime.own_certificate import OwnCertificate
from gameserver.runtime.redis_connection import open_state
from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import BUFFER_BYTES, client_context, server_context, verifying_context
from gameserver.server import garbage
from gameserver.server.connection import Connection
from gameserver.server.fleet_watch import FleetWatch
from gameserver.server.heartbeat import Heartbeat
from gameserver.server.host import MatchHost
from gameserver.server.identity import ServerIdentity
from gameserver.server.links import Links
from gameserver.server.listener import LimitedListener, UnjoinedLimit
from gameserver.server.loop import new_event_loop
from gameserver.server.ops import OpsApp
from gameserver.server.relay import RELAYED_HEADER

log = structlog.get_logger()

_PATHS: Final = (b"/", b"/play")
_BACKLOG: Final = 1024
_READ_BUFFER_BYTES: Final = 1024
"""Initial size of each connection's read buffer, for inputs of about 20 bytes. The buffer grows for the `Hello` of
about 1.5 KiB, which a client sends only once."""

_REDIS_TIMEOUT_SECONDS: Final = 1.0
"""Timeout of a call to Redis. The timeout is well below the length of a lease, so that a call that hangs can be
repeated while this server still owns its matches."""

_REPORT_SECONDS: Final = 10.0
_CANCEL_SECONDS: Final = 0.2
_HAND_OVER_SECONDS: Final = 5.0
_TLS_HANDSHAKE_SECONDS: Final = 5.0

_Socket = TypeVar("_Socket", bound=socket.socket)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then hand the matches over to other servers.

    Returns:
        The exit code of the process: 0, or 1 if a background task has failed.

    Raises:
        SettingsError: a setting that a game server needs is missing, or a mode cannot be played.
    """
    for name in ("issuer", "client_id", "jwks_url"):
        if not getattr(settings, name):
            raise SettingsError(f"GAMESERVER_{name.upper()} is not set")
    check_modes(settings)
    logs.configure(settings, "game")
    settings = ecs.identified(settings)
    logs.configure(settings, "game")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with GameServer.started(settings) as server:
        garbage.freeze_startup_objects()
        compiled = not match.__file__.endswith(".py")
        log.info("serving", url=server.host.identity.url, ops_port=server.ops_port, compiled=compiled)
        server.on_failure = stop.set
        await stop.wait()
        log.info("draining", matches=len(server.host.rooms), players=server.host.players)
        await server.drain()
    log.info("stopped", failed=server.failed)
    return 1 if server.failed else 0


class GameServer:
    """Connects the parts of one game server process. `GameServer.started` creates and starts a server, also in tests.

    Attributes:
        host: the matches and connections of the server.
        heartbeat: reports that the server is alive, and adopts matches without an owner.
        ops_port: TCP port of the operations server; 0 before the start.
        failed: True once a background task has ended unexpectedly.
        on_failure: function that is called when `failed` becomes True.
    """

    def __init__(self, settings: Settings, redis: Redis, aws: AwsClients, listeners: _Sockets) -> None:
        self._listeners = listeners
        self._directory = Directory(redis)
        own = OwnCertificate() if settings.tls_own_certificate else None
        self._tls = server_context(settings) if own is None else own.for_load_balancer()
        self._links = Links(own, None if own is not None or self._tls is None else client_context(settings))
        origin = f"{'ws' if self._tls is None else 'wss'}://{_own_address(settings)}"
        identity = ServerIdentity(
            server_id=settings.server_id or f"game-{uuid.uuid4().hex[:12]}",
            zone=settings.zone,
            region=settings.region,
            url=settings.play_url or f"{origin}:{listeners.port}/play",
            private_url=f"{origin}:{listeners.port if listeners.peers is None else listeners.peer_port}/play",
            max_players=settings.max_players,
            tick_rate_hz=settings.tick_rate_hz,
        )
        self._epochs = Epochs.of(settings)
        leases = Leases(redis, identity.server_id, settings.lease_seconds, self._epochs)
        store = MatchStore(redis, identity.server_id, settings.lease_seconds)
        self.host = MatchHost(
            identity,
            directory=self._directory,
            leases=leases,
            store=store,
            publisher=Publisher(store, aws, settings.events_topic_arn),
            verifier=TokenVerifier(settings.issuer, settings.client_id, settings.jwks_url, verifying_context(settings)),
            links=self._links,
            snapshot_seconds=settings.snapshot_interval_seconds,
            lease_seconds=settings.lease_seconds,
            sealer=Sealer(settings, aws) if settings.data_key_arn else None,
            unjoined=listeners.play.limit,
        )
        self.heartbeat = Heartbeat(
            self.host,
            self._directory,
            leases,
            settings.lease_seconds,
            drain_asked=lambda: draining.requested(redis, identity.server_id),
            departures=lambda: departures.read(redis),
        )
        host = self.host
        self._protection = ecs.protection(
            settings.modes, lambda: bool(host.rooms) and not host.draining and not host.outdated
        )
        self._fleet_watch = (
            FleetWatch(identity.server_id, redis, self._directory, aws) if ecs.METADATA_VARIABLE in os.environ else None
        )
        self.ops_port = 0
        self.failed = False
        self.on_failure: Callable[[], None] = lambda: None
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: list[asyncio.Server] = []
        self._preparing: asyncio.Task[None] | None = None
        if not settings.events_topic_arn:
            log.warning("events_not_published", reason="GAMESERVER_EVENTS_TOPIC_ARN is not set")
        if self._epochs is None:
            log.warning("epochs_not_durable", reason="GAMESERVER_TABLES is not set")

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: Settings) -> AsyncIterator[GameServer]:
        """Start a server that accepts players, and stop it when the context ends.

        The end of the context does not hand matches over, but `drain` does.

        Raises:
            SettingsError: a port is in use, or this process may not listen on it.
        """
        aws = AwsClients(settings.region, settings.aws_endpoint_url, threads=4)
        listeners = _Sockets(settings)
        redis = open_state(settings, aws, socket_timeout=_REDIS_TIMEOUT_SECONDS)
        server = cls(settings, redis, aws, listeners)
        ops = make_runner(OpsApp(server.host, server.heartbeat).application())
        try:
            await server._start(ops)
            yield server
        finally:
            await server._stop()
            await ops.cleanup()
            await redis.aclose()
            aws.close()

    async def drain(self) -> None:
        """Accept no more players, hand every match over, and redirect the clients to the new owners.

        If the hand-over fails or lasts longer than `_HAND_OVER_SECONDS`, the failure is logged, and other servers take
        the remaining matches over when their leases expire.
        """
        self.host.draining = True
        self._close_listeners()
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                # The heartbeat announces the drain to the region, and reads the list of the servers to which matches
                # can be handed over.
                await self.heartbeat.beat_once()
                await self.host.hand_over()
                await self._directory.deregister(self.host.identity.server_id)
        except (RedisError, TimeoutError) as error:
            log.warning("hand_over_incomplete", error=type(error).__name__, matches=len(self.host.rooms))

    async def _start(self, ops: web.AppRunner) -> None:
        # A server with its own certificate accepts the other servers at the peer port only. At the play port, every
        # player could send the header `RELAYED_HEADER`.
        peers = self._listeners.peers
        await self._listen(self._listeners.play, self._tls, lambda headers: peers is None and RELAYED_HEADER in headers)
        if peers is not None:
            await self._listen(peers, self._links.accepting, lambda _: True)
        await ops.setup()
        await web.SockSite(ops, self._listeners.ops, ssl_context=self._tls).start()
        self.ops_port = self._listeners.ops_port
        work = {
            "heartbeat": self.heartbeat.beat(),
            "sweep": self.heartbeat.sweep(),
            "commits": self.host.committer.run(),
            "events": self.host.publisher.run(),
            "status": self._report(),
            "garbage": garbage.collect(idle=lambda: not self.host.connections),
        }
        if self._protection is not None:
            work["protection"] = self._protection.run()
        if self._fleet_watch is not None:
            work["fleet"] = self._fleet_watch.run()
        if self._epochs is not None:
            self._preparing = asyncio.create_task(self._epochs.prepare())
        for name, coroutine in work.items():
            task = asyncio.create_task(coroutine, name=name)
            task.add_done_callback(self._watch)
            self._tasks.append(task)

    async def _listen(
        self, sock: LimitedListener, tls: ssl.SSLContext | None, from_server: Callable[[Any], bool]
    ) -> None:
        """Accept WebSockets at `sock`.

        Args:
            sock: the listening socket.
            tls: context of the listener; None for a listener without TLS.
            from_server: function that returns, from the headers of a request, whether another server relays the client.
        """
        encryption: dict[str, Any] = (
            {} if tls is None else {"ssl_handshake_timeout": _TLS_HANDSHAKE_SECONDS, **BUFFER_BYTES}
        )
        server = await ws_create_server(
            lambda request: self._accept(request, from_server=from_server(request.headers)),
            sock=sock,
            ssl=tls,
            backlog=_BACKLOG,
            max_frame_size=MAX_CLIENT_FRAME_BYTES,
            read_buffer_init_size=_READ_BUFFER_BYTES,
            enable_auto_pong=False,
            # aiofastnet calls `accept` of the listening socket, where `LimitedListener` limits unjoined connections.
            use_aiofastnet=True,
            **encryption,
        )
        self._listening.append(server)

    def _close_listeners(self) -> None:
        for server in self._listening:
            server.close()

    async def _report(self) -> None:
        """Log the numbers of players and matches every `_REPORT_SECONDS`, until cancelled.

        On AWS a metric filter turns the log lines `server_status` into the metric by which the fleet scales.
        """
        while True:
            log.info("server_status", players=self.host.players, matches=len(self.host.rooms))
            await asyncio.sleep(_REPORT_SECONDS)

    async def _stop(self) -> None:
        await end_tasks(self._tasks)
        if self._preparing is not None:
            await end_tasks([self._preparing])
        self.host.close()
        self._close_listeners()
        # Wait a turn of the event loop, in which the transports send their close frames.
        await asyncio.sleep(0)
        # The caller closes the Redis connections after `_stop`. Pending admissions of players would open the Redis
        # connections again, so `_stop` ends the admissions.
        while self.host.tasks:
            await end_tasks(self.host.tasks)
        if self._epochs is not None:
            self._epochs.close()

    def _watch(self, task: asyncio.Task[None]) -> None:
        """Stop the server because a background task has ended, which only a fault can cause.

        A server that hands its matches over and restarts is better than a server without one of its tasks.
        """
        if not task.cancelled():
            log.critical("background_task_failed", task=task.get_name(), exc_info=task.exception())
            self.failed = True
            self.on_failure()

    def _accept(self, request: WSUpgradeRequest, *, from_server: bool) -> WSUpgradeResponseWithListener:
        if request.path.partition(b"?")[0] not in _PATHS:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(404, b"not found\n"), None)
        codec = choose_codec(request.headers.get("Sec-WebSocket-Protocol", ""))
        if codec is None:
            response = WSUpgradeResponse.create_error_response(400, b"offer the subprotocol mj1.msgpack or mj1.json\n")
            return WSUpgradeResponseWithListener(response, None)
        response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": codec.name})
        connection = Connection(self.host, codec, from_server=from_server)
        return WSUpgradeResponseWithListener(response, connection)


class _Sockets:
    """Binds the ports of the server at the start, so that a port in use is reported before anything else.

    Raises:
        SettingsError: a port is in use, or this process may not listen on it.
    """

    def __init__(self, settings: Settings) -> None:
        self.play = _bind(LimitedListener, settings.host, settings.port, "GAMESERVER_PORT")
        self.play.limit = UnjoinedLimit.of(
            settings.max_players, settings.unjoined_percent, settings.unjoined_per_address
        )
        self.peers: LimitedListener | None = None
        if settings.tls_own_certificate:
            self.peers = _bind(LimitedListener, settings.host, settings.peer_port, "GAMESERVER_PEER_PORT")
            self.peers.limit = self.play.limit
        self.ops = _bind(socket.socket, settings.host, settings.ops_port, "GAMESERVER_OPS_PORT")
        self.port: int = self.play.getsockname()[1]
        self.peer_port: int = 0 if self.peers is None else self.peers.getsockname()[1]
        self.ops_port: int = self.ops.getsockname()[1]


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` repeatedly until all of them have ended.

    A single cancellation is not enough, because redis-py waits by asyncio.wait_for. On Python 3.11 asyncio.wait_for
    swallows a cancellation that arrives together with the answer (python/cpython#86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)


def _own_address(settings: Settings) -> str:
    """Return an address of this machine at which the other game servers can reach this server."""
    if settings.host not in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return settings.host
    redis = urlsplit(settings.state_url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # The connect of a UDP socket sends nothing, but makes the kernel select the local address of the route to
        # Redis.
        probe.connect((redis.hostname or "localhost", redis.port or 6379))
        address: str = probe.getsockname()[0]
        return address


def _bind(kind: type[_Socket], host: str, port: int, variable: str) -> _Socket:
    sock = kind(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SettingsError(f"{variable}: cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock
