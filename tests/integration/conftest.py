"""Runs real services for the integration tests: one Redis, one PostgreSQL and one emulated AWS in a session.

Fixtures:
- redis_url: the address of a Redis, database 0.
- postgres: a `Postgres` whose role may create databases.
- aws: an `EmulatedAws`. The environment variables of the tests have the credentials of the emulated AWS.
- make_settings: creates `Settings` with separate databases, tables, queues, topic and user pool.
- run_environment: returns the environment variables from which a child process reads given settings.
- run_game: runs `gameserver COMMAND` and yields a `GameProcess`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gameserver.runtime.settings import Settings
from mjctl.local import data_plane
from mjctl.local.credentials import AwsKey, ensure_aws_key, redis_password
from mjctl.local.layout import Layout
from mjctl.local.probe import probe
from mjctl.local.programs import prepare
from mjctl.local.spec import Kind, ProcessSpec

REGION = "us-east-1"
DEFINITION = Path(__file__).parents[2] / "terraform" / "modules" / "data_plane" / "data-plane.yaml"
_START_SECONDS = 90.0
_READY = {
    "redis": "redis://127.0.0.1:{}",
    "postgres": "postgres://127.0.0.1:{}/game",
    "aws": "http://127.0.0.1:{}/healthz",
}
# Number of databases in the tests' Redis, so that each test has separate databases. The tests of `gameserver/server`
# use the database numbers from 1000 on, and the state stores of the other tests those from 2000 on.
_STATE_DATABASES = 2000
_REDIS_DATABASES = 3000
_TEMPLATE = "migrated"


@dataclass(frozen=True)
class Postgres:
    host: str
    port: int
    user: str
    database: str
    secret: str

    @property
    def password(self) -> str:
        return str(json.loads(Path(self.secret.removeprefix("file:")).read_text())["password"])


@dataclass(frozen=True)
class EmulatedAws:
    """Holds the address of the emulated AWS and the file with its key.

    Attributes:
        secret: reference to the file with the emulated AWS's key, such as `file:/path`.
    """

    endpoint: str
    secret: str
    region: str = REGION

    @property
    def key(self) -> AwsKey:
        return ensure_aws_key(Path(self.secret.removeprefix("file:")))


@dataclass
class GameProcess:
    """Holds a running `gameserver COMMAND`.

    Attributes:
        url: the base URL of the process's HTTP port.
        log: the lines of the process's stderr so far, decoded from JSON.
    """

    process: subprocess.Popen[bytes]
    log_path: Path
    url: str = ""

    @property
    def log(self) -> list[dict[str, Any]]:
        # The text after the log's last newline is an unfinished line.
        return [json.loads(line) for line in self.log_path.read_text().split("\n")[:-1]]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def await_status(self, path: str, status: int, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while True:
            answered, body = self.get(path)
            if answered == status:
                return body
            assert time.monotonic() < end, f"{path} answers {answered}, not {status}: {body}"
            time.sleep(0.05)

    def await_log(self, event: str, count: int = 1, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while sum(line["event"] == event for line in self.log) < count:
            assert time.monotonic() < end, f"{event} was not logged {count} times"
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


MakeSettings = Callable[..., Settings]
RunGame = Callable[[str, Settings], AbstractContextManager[GameProcess]]


@pytest.fixture(scope="session")
def services_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("services")
    Layout(folder).create()
    return folder


@pytest.fixture(scope="session")
def redis_url(services_dir: Path) -> Iterator[str]:
    with _running(services_dir, "redis", ("--databases", str(_REDIS_DATABASES), "--appendonly", "no")) as port:
        yield f"redis://:{redis_password(Layout(services_dir))}@127.0.0.1:{port}"


@pytest.fixture(scope="session")
def postgres(services_dir: Path) -> Iterator[Postgres]:
    with _running(services_dir, "postgres", ("-c", "fsync=off")) as port:
        secret = f"file:{Layout(services_dir).database_secret}"
        yield Postgres("127.0.0.1", port, "game", "game", secret)


@pytest.fixture(scope="session")
def aws(services_dir: Path) -> Iterator[EmulatedAws]:
    # The emulator starts all its services, because the tests also use services that no local region uses: functions,
    # backups and buckets.
    every_service = {"SERVICES": ""}
    with _running(services_dir, "aws", environment=every_service) as port, pytest.MonkeyPatch.context() as patch:
        endpoint = f"http://127.0.0.1:{port}"
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        emulated = EmulatedAws(endpoint, f"file:{Layout(services_dir).aws_key}")
        for name, value in emulated.key.variables.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        # A default session of boto3 that was used before would keep its earlier credentials.
        patch.setattr("boto3.DEFAULT_SESSION", None)
        yield emulated


@pytest.fixture(scope="session")
def make_settings(redis_url: str, postgres: Postgres, aws: EmulatedAws) -> MakeSettings:
    """Return a function that creates separate resources and returns their `Settings`."""
    numbers = itertools.count(1)
    _execute(postgres, f"CREATE DATABASE {_TEMPLATE}")
    migrating = _settings(postgres, aws, redis_url, 0, _TEMPLATE)
    # The database migration runs as a separate process, because it configures the logging of its process.
    command = [sys.executable, "-m", "gameserver", "migrate"]
    subprocess.run(command, env=environment_of(migrating), check=True, capture_output=True)
    create_plane = _plane_factory()

    def make(**overrides: Any) -> Settings:
        name = f"t{secrets.token_hex(4)}"
        spec = data_plane.DataPlaneSpec(DEFINITION, f"game-{name}", aws.endpoint, aws.region, aws.key)
        plane = create_plane(spec)
        _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        identity = plane["identity"]
        return dataclasses.replace(
            _settings(postgres, aws, redis_url, next(numbers), name),
            events_topic_arn=plane["topics"]["events"],
            persistence_queue_url=plane["queues"]["persistence"]["url"],
            tables={key: table["name"] for key, table in plane["tables"].items()},
            user_pool_id=identity["user_pool_id"],
            client_id=identity["client_id"],
            issuer=identity["issuer"],
            jwks_url=identity["jwks_url"],
            data_key_arn=plane["keys"]["data"],
            auto_confirm_sign_up=True,
            **overrides,
        )

    return make


@pytest.fixture(scope="session")
def run_environment() -> Callable[[Settings], dict[str, str]]:
    return environment_of


@pytest.fixture(scope="session")
def run_game(tmp_path_factory: pytest.TempPathFactory) -> RunGame:
    """Return a context manager that runs `gameserver COMMAND` and kills it at the end."""

    @contextmanager
    def run(command: str, settings: Settings) -> Iterator[GameProcess]:
        path = tmp_path_factory.mktemp(command) / "log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gameserver", command], env=environment_of(settings), stdout=log, stderr=log
            )
        game = GameProcess(process, path)
        try:
            end = time.monotonic() + 60
            while not (port := re.search(r'"port":(\d+)', path.read_text())):
                assert process.poll() is None, path.read_text()
                assert time.monotonic() < end, path.read_text()
                time.sleep(0.02)
            game.url = f"http://127.0.0.1:{port[1]}"
            yield game
        finally:
            process.kill()
            process.wait()

    return run


def _plane_factory() -> Callable[[data_plane.DataPlaneSpec], dict[str, Any]]:
    """Return `data_plane.create` with shared clients, because creating clients takes twice as long as using them."""
    clients: dict[str, Any] = {}

    def create(spec: data_plane.DataPlaneSpec) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            plane_clients = clients.get(spec.region) or data_plane._Clients(spec, 60.0)
            clients[spec.region] = plane_clients
            patch.setattr(data_plane, "_Clients", lambda *_: plane_clients)
            return data_plane.create(spec)

    return create


def _settings(postgres: Postgres, aws: EmulatedAws, redis_url: str, number: int, name: str) -> Settings:
    return Settings(
        project="game",
        environment=name,
        region=aws.region,
        state_url=f"{redis_url}/{_STATE_DATABASES + number}",
        cache_url=f"{redis_url}/{number}",
        database_host=postgres.host,
        database_port=postgres.port,
        database_name=name,
        database_user=postgres.user,
        database_secret=postgres.secret,
        aws_endpoint_url=aws.endpoint,
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables from which a child process reads `settings`."""
    values = {"AWS_ENDPOINT_URL": settings.aws_endpoint_url or "", "AWS_REGION": settings.region}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in {"aws_endpoint_url", "modes"} or value is None:
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        values[f"GAMESERVER_{field.name.upper()}"] = json.dumps(value) if isinstance(value, dict) else str(value)
    return {**os.environ, **values}


def _execute(postgres: Postgres, statement: str) -> None:
    import asyncpg

    async def execute() -> None:
        connection = await asyncpg.connect(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            password=postgres.password,
            database=postgres.database,
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # The statement runs on a thread, because the caller may be inside an event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(execute())).result()


@contextmanager
def _running(
    region_dir: Path, kind: Kind, arguments: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a service with the program and arguments of a local region. Yields: the service's port, once it answers."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    program = prepare(
        ProcessSpec(kind, kind, "tests", region_dir, port, ready="", live="", environment=environment or {})
    )
    log = Layout(region_dir).log(kind)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **program.environment},
            start_new_session=True,
        )
        try:
            _await_ready(_READY[kind].format(port), process, log)
            yield port
        finally:
            process.send_signal(signal.Signals[f"SIG{program.stop_signal}"])
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for an answer of the service. PostgreSQL opens its port before it answers, so an open port is not enough."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if probe(address) is None:
            return
        time.sleep(0.02)
    pytest.fail(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-2000:]}")
