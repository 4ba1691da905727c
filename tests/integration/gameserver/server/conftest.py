"""Fixtures for the real-time tests: game servers in this process or as separate processes, on a real Redis.

Fixtures:
    issuer: An `Issuer`, which signs RS256 access tokens like a user pool and serves its keys over HTTP.
    redis: A client of an empty Redis database, which no other test uses.
    settings: A factory of `Settings` for a further game server on the Redis database of the test.
    directory: The `Directory` in the Redis database of the test.
    start: A factory of game servers in this process.
    spawn: A factory of game servers as processes, see `ServerProcess`.
    new_match: A function that creates a match as the API does, and returns its `MatchSpec`.
    player: A factory of logged-in `GameClient` objects.
    whole_region: API, worker and game server on real services.
    eventually: A function that waits until an async condition holds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.client import GameClient
from gameserver.cluster.directory import Directory
from gameserver.match import MatchSpec
from gameserver.runtime.settings import Settings
from gameserver.server.loop import new_event_loop
from gameserver.server.process import GameServer
from tests.issuer import CLIENT_ID, Issuer

# Numbers of the Redis databases for the tests of the game server. `make_settings` in tests/integration/conftest.py uses
# other numbers, from 1 upwards.
_DATABASES = itertools.count(1000)
_START_SECONDS = 60.0


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loop of the game server, so that servers in this process use the loop of real processes."""
    return {"game": new_event_loop}


class ServerProcess:
    """Runs `gameserver serve`, or another subcommand, as a separate process."""

    def __init__(self, settings: Settings, log: Path, command: str = "serve") -> None:
        self.settings = settings
        self.log = log
        self._log_file = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gameserver", command], env=environment_of(settings), stderr=self._log_file
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def wait(self, seconds: float = 60.0) -> int:
        return await asyncio.to_thread(self._process.wait, seconds)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        self._log_file.close()


Condition = Callable[[], Awaitable[bool]]
SettingsFactory = Callable[..., Settings]
StartServer = Callable[..., Awaitable[GameServer]]
SpawnServer = Callable[..., Awaitable[ServerProcess]]
NewMatch = Callable[..., Awaitable[MatchSpec]]
NewPlayer = Callable[..., GameClient]


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    pool = Issuer()
    yield pool
    pool.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(f"{redis_url}/{next(_DATABASES)}", decode_responses=False)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def settings(redis: Redis, redis_url: str, issuer: Issuer) -> SettingsFactory:
    base = Settings(
        project="tests",
        environment="tests",
        region="us-east-1",
        state_url=f"{redis_url}/{redis.connection_pool.connection_kwargs['db']}",
        issuer=issuer.url,
        client_id=CLIENT_ID,
        jwks_url=issuer.jwks_url,
    )
    numbers = itertools.count(1)

    def make(**overrides: Any) -> Settings:
        number = next(numbers)
        values = {"server_id": f"game-us-east-1a-{number}", "zone": "us-east-1a", "port": _free_port(), **overrides}
        return dataclasses.replace(base, **values)

    return make


@pytest.fixture
def directory(redis: Redis) -> Directory:
    return Directory(redis)


@pytest.fixture
async def start(settings: SettingsFactory, directory: Directory) -> AsyncIterator[StartServer]:
    async with AsyncExitStack() as stack:

        async def make(**overrides: Any) -> GameServer:
            server = await stack.enter_async_context(GameServer.started(settings(**overrides)))
            await _registered(directory, server.host.identity.server_id)
            return server

        yield make


@pytest.fixture
async def spawn(settings: SettingsFactory, directory: Directory, tmp_path: Path) -> AsyncIterator[SpawnServer]:
    processes: list[ServerProcess] = []

    async def make(expected_id: str = "", **overrides: Any) -> ServerProcess:
        own_settings = settings(**overrides)
        name = expected_id or own_settings.server_id
        process = ServerProcess(own_settings, tmp_path / f"{name}.log")
        processes.append(process)
        await _registered(directory, name)
        return process

    yield make
    for process in processes:
        process.stop()


@pytest.fixture
def whole_region(make_settings: Any, tmp_path: Path) -> Iterator[Settings]:
    """Start API, worker and a game server as processes on new services, and yield the API's settings."""
    base: Settings = make_settings()
    processes = []
    for command in ("api", "worker", "serve"):
        own = dataclasses.replace(base, port=_free_port(), ops_port=_free_port(), server_id=f"{command}-1")
        processes.append((command, ServerProcess(own, tmp_path / f"{command}.log", command)))
    yield next(process.settings for command, process in processes if command == "api")
    for _, process in processes:
        process.stop()


@pytest.fixture
def new_match(directory: Directory) -> NewMatch:
    async def make(server_id: str, *, seconds: float = 1.0, seats: int = 4, rules: str = "arena") -> MatchSpec:
        spec = MatchSpec(
            match_id=secrets.token_hex(8),
            mode="test",
            seats=seats,
            duration_seconds=seconds,
            rules=rules,
            created_at_ms=time.time_ns() // 1_000_000,
            server_id=server_id,
        )
        await directory.create_match(spec)
        return spec

    return make


@pytest.fixture
async def player(issuer: Issuer) -> AsyncIterator[NewPlayer]:
    clients: list[GameClient] = []

    def make(player_id: str, ssl_context: ssl.SSLContext | None = None) -> GameClient:
        client = GameClient("", timeout_seconds=5, ssl_context=ssl_context)
        client.use_token(issuer.token(player_id))
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    return _eventually


async def _eventually(condition: Condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def _registered(directory: Directory, server_id: str) -> None:
    async def alive() -> bool:
        return server_id in {server.id for server in await directory.servers()}

    await _eventually(alive, _START_SECONDS)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables from which a child process reads `settings`."""
    values = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value in (None, "", ()) or field.name in {"aws_endpoint_url", "modes"}:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        values[f"GAMESERVER_{field.name.upper()}"] = text
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAMESERVER_")}
    if settings.aws_endpoint_url:
        inherited["AWS_ENDPOINT_URL"] = settings.aws_endpoint_url
    return {**inherited, **values}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
