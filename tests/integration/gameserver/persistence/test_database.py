"""Tests connections that need secrets, and connections that break."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from structlog.testing import capture_logs

from gameserver.persistence.database import Database, DatabaseUnavailable, IamToken, connection_options
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.redis_connection import open_cache
from gameserver.runtime.secrets import SecretError, resolve
from gameserver.runtime.settings import Settings
from tests.signing import sign_at

WriteSecret = Callable[..., str]


@pytest.fixture(scope="module")
def settings(make_settings: Any) -> Settings:
    return make_settings()


@pytest.fixture
async def clients(settings: Settings) -> AsyncIterator[AwsClients]:
    clients = AwsClients(settings.region, settings.aws_endpoint_url)
    yield clients
    clients.close()


@pytest.fixture
async def database(settings: Settings, clients: AwsClients) -> AsyncIterator[Database]:
    database = Database(settings, clients)
    yield database
    await database.close()


@pytest.fixture
def write_secret(tmp_path: Path) -> WriteSecret:
    """Return a function that writes a secret to a private file, and returns the reference to the file.

    Each call overwrites the same file.
    """
    path = tmp_path / "secret.json"
    path.touch(mode=0o600)

    def write(**values: str) -> str:
        path.write_text(json.dumps(values))
        return f"file:{path}"

    return write


async def test_a_secret_is_read_from_secrets_manager(clients: AwsClients) -> None:
    created = clients.secrets_manager.create_secret(Name="game/database", SecretString='{"password": "p"}')
    assert resolve(created["ARN"], clients) == {"password": "p"}
    with pytest.raises(SecretError, match="ResourceNotFoundException"):
        resolve(created["ARN"].replace("game/database", "game/other"), clients)


async def test_a_redis_user_from_a_secret_survives_the_rotation_of_its_password(
    settings: Settings, clients: AwsClients, write_secret: WriteSecret
) -> None:
    reference = write_secret(username="game-server", password="first")
    async with Redis.from_url(settings.cache_url) as admin:
        await admin.acl_setuser("game-server", enabled=True, passwords=["+first"], keys=["*"], commands=["+@all"])
        with_secret = dataclasses.replace(settings, cache_secret=reference)
        async with open_cache(with_secret, clients) as redis:
            assert await redis.acl_whoami() == "game-server"
            # Rotate the password. New connections to the database must read the changed secret.
            await admin.acl_setuser("game-server", enabled=True, passwords=["-first", "+second"])
            await redis.connection_pool.disconnect()
            with pytest.raises(AuthenticationError):
                await redis.acl_whoami()
            write_secret(username="game-server", password="second")
            assert await redis.acl_whoami() == "game-server"
        await admin.acl_deluser("game-server")


async def test_the_database_reconnects_automatically(database: Database) -> None:
    await database.ping()
    async with database.connection() as connection:
        mine = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(DatabaseUnavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend($1::int)", mine)
    await database.ping()


async def test_connections_to_a_server_that_became_a_reader_are_replaced(database: Database) -> None:
    async def create_on_a_reader() -> None:
        async with database.connection() as connection:
            # Like an Aurora instance after a failover, the server behind the connection refuses writes.
            await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            await connection.execute("CREATE TABLE of_a_reader (n int)")

    async with database.connection() as connection:
        before = connection.get_server_pid()
    with pytest.raises(DatabaseUnavailable, match="ReadOnlySQLTransactionError"):
        await create_on_a_reader()
    async with database.connection() as connection:
        assert connection.get_server_pid() != before


@pytest.fixture
async def with_two_hosts(settings: Settings, clients: AwsClients) -> AsyncIterator[Callable[[str, str], Database]]:
    """Return a function that opens the database by two host names."""
    opened = []

    def connect(host: str, other: str) -> Database:
        named = dataclasses.replace(settings, database_host=host, database_other_host=other)
        opened.append(Database(named, clients))
        return opened[-1]

    yield connect
    for database in opened:
        await database.close()


# Nothing listens at this address of the local network, like at the writer's host name of a region without the writer.
NO_SERVER = "127.0.0.9"


async def test_a_host_without_a_server_is_left_for_the_other_host(
    with_two_hosts: Callable[[str, str], Database],
) -> None:
    database = with_two_hosts(NO_SERVER, "127.0.0.1")
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    await database.ping()


async def test_two_callers_at_once_leave_a_host_without_a_server(
    with_two_hosts: Callable[[str, str], Database],
) -> None:
    database = with_two_hosts(NO_SERVER, "127.0.0.1")
    results = await asyncio.gather(database.ping(), database.ping(), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable, type(None)]


async def test_a_host_that_refuses_writes_is_left_for_the_other_host(
    with_two_hosts: Callable[[str, str], Database],
) -> None:
    database = with_two_hosts("127.0.0.1", "localhost")

    async def write_on_a_reader() -> None:
        async with database.connection() as connection:
            await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            await connection.execute("CREATE TABLE of_a_reader (n int)")

    with capture_logs() as logs, pytest.raises(DatabaseUnavailable, match="ReadOnlySQLTransactionError"):
        await write_on_a_reader()
    assert [(line["event"], line["host"]) for line in logs] == [("database_host_changed", "localhost")]
    await database.ping()


async def test_a_server_that_ends_is_left_at_the_next_use(with_two_hosts: Callable[[str, str], Database]) -> None:
    database = with_two_hosts("127.0.0.1", NO_SERVER)
    await database.ping()

    async def fail_in_a_query() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with capture_logs() as logs, pytest.raises(DatabaseUnavailable):
        await fail_in_a_query()
    assert logs == [], "the connection can have ended for another reason than the end of the server"
    await database.ping()


async def test_a_busy_pool_does_not_change_the_host(
    with_two_hosts: Callable[[str, str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gameserver.persistence.database._CONNECT_SECONDS", 0.5)
    database = with_two_hosts("127.0.0.1", NO_SERVER)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(database.connection())
        with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
            await stack.enter_async_context(database.connection())
    await database.ping()


async def test_a_failed_transaction_writes_nothing(database: Database) -> None:
    async def fail_midway() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO processed_events (event_id) VALUES ('x:1')")
            await connection.execute("INSERT INTO matches (match_id) VALUES ('x')")

    with pytest.raises(asyncpg.NotNullViolationError):
        await fail_midway()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM processed_events WHERE event_id = 'x:1'") == 0


@pytest.mark.parametrize("broken", ["password", "database", "port"])
async def test_a_database_that_cannot_be_reached_is_reported_without_its_password(
    settings: Settings, clients: AwsClients, write_secret: WriteSecret, unused_tcp_port: int, broken: str
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "password": {"database_secret": write_secret(password="wrong")},
        "database": {"database_name": "nothing"},
        "port": {"database_port": unused_tcp_port},
    }
    database = Database(dataclasses.replace(settings, **changes[broken]), clients)
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.ping()
    assert "wrong" not in str(caught.value)
    await database.close()


def test_two_processes_can_migrate_at_the_same_time(settings: Settings, run_environment: Any) -> None:
    command = [sys.executable, "-m", "gameserver", "migrate"]
    running = [
        subprocess.Popen(command, env=run_environment(settings), stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in running:
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log
        assert json.loads(log.splitlines()[-1])["event"] == "schema_up_to_date"


async def test_a_token_of_iam_equals_the_token_of_the_client_of_aws(
    settings: Settings, clients: AwsClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    sign_at(monkeypatch, lambda: now)
    with_iam = dataclasses.replace(settings, database_secret="iam", database_host="db.example.com", database_user="app")
    token = await connection_options(with_iam, clients)["password"]()
    client = boto3.client("rds", region_name=settings.region)
    assert token == client.generate_db_auth_token("db.example.com", settings.database_port, "app")


async def test_a_token_of_iam_is_used_again_until_it_is_old_or_refused(
    settings: Settings, clients: AwsClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()
    token = IamToken(dataclasses.replace(settings, database_host="db.example.com", database_user="app"), clients)

    async def at(seconds: float) -> str:
        sign_at(monkeypatch, lambda: datetime.fromtimestamp(start + seconds, UTC))
        monkeypatch.setattr("gameserver.persistence.database.time.time", lambda: start + seconds)
        return await token.get()

    first = await at(0)
    assert await at(590) == first
    second = await at(610)
    assert second != first
    assert await at(620) == second
    token.forget()
    assert await at(621) != second


async def test_a_database_that_refuses_the_token_is_unavailable(settings: Settings, clients: AwsClients) -> None:
    """Test with the password of a user who does not log in by IAM, which a token never is."""
    database = Database(dataclasses.replace(settings, database_secret="iam"), clients)
    with pytest.raises(DatabaseUnavailable, match="InvalidPasswordError"):
        await database.ping()
    await database.close()


async def test_a_process_without_credentials_of_aws_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with_iam, aws = dataclasses.replace(settings, database_secret="iam"), AwsClients(settings.region)
    with pytest.raises(SecretError, match="Unable to locate credentials"):
        await IamToken(with_iam, aws).get()
    database = Database(with_iam, aws)
    with pytest.raises(DatabaseUnavailable, match="SecretError"):
        await database.ping()
    await database.close()
    aws.close()
