"""Tests the migrations as the command `gameserver migrate` and the Lambda function `migrate` run them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from gameserver.functions import lambda_handlers
from gameserver.persistence.migrate import MigrationFailed, upgrade
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

VERSIONS = Path(__file__).parents[4] / "gameserver" / "migrations" / "versions"
NAMES = sorted(path.stem for path in VERSIONS.glob("0*.py"))
CONTEXT = SimpleNamespace(aws_request_id="r-1", get_remaining_time_in_millis=lambda: 60_000)


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    settings: Settings = make_settings()
    return settings


@pytest.fixture
def clients(settings: Settings) -> Iterator[AwsClients]:
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    yield aws
    aws.close()


@pytest.fixture
async def connection(settings: Settings, postgres: Any) -> AsyncIterator[asyncpg.Connection[Any]]:
    opened = await asyncpg.connect(
        host=postgres.host,
        port=postgres.port,
        user=postgres.user,
        password=postgres.password,
        database=settings.database_name,
    )
    yield opened
    await opened.close()


@pytest.fixture
def lambda_environment(run_environment: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in run_environment(settings).items():
        monkeypatch.setenv(name, value)


async def empty(connection: Any) -> None:
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def migrate(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gameserver", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def test_older_code_does_not_change_a_newer_schema(
    settings: Settings, run_environment: Any, connection: Any
) -> None:
    """Test the state after a rollback to code from before a migration."""
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = await asyncio.to_thread(migrate, run_environment(settings))
    assert done.returncode == 0, done.stderr
    assert '"event":"schema_is_newer"' in done.stderr.replace('": ', '":')
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"


async def test_the_missing_migrations_are_reported(settings: Settings, clients: AwsClients, connection: Any) -> None:
    await empty(connection)
    first = await asyncio.to_thread(upgrade, settings, clients)
    assert (list(first.heads), first.missing, first.applied) == ([], NAMES, NAMES)
    again = await asyncio.to_thread(upgrade, settings, clients)
    assert (list(again.heads), again.missing, again.applied) == (["0004"], [], [])


async def test_a_failed_migration_is_named_and_changes_nothing(
    settings: Settings, clients: AwsClients, connection: Any
) -> None:
    await empty(connection)
    # Only the last migration fails, because it creates a table of this name.
    await connection.execute("CREATE TABLE match_events (id int)")
    with pytest.raises(MigrationFailed, match="already exists") as failed:
        await asyncio.to_thread(upgrade, settings, clients)
    assert failed.value.migration == "0004_match_events"
    assert await connection.fetchval("SELECT to_regclass('matches')") is None


async def test_a_migration_gives_up_a_locked_table(settings: Settings, clients: AwsClients, connection: Any) -> None:
    """Test that a migration which waits for a lock ends, because all statements of players would wait behind it."""
    await connection.execute("DROP TABLE match_events; UPDATE alembic_version SET version_num = '0003'")
    async with connection.transaction():
        await connection.execute("LOCK TABLE matches IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(MigrationFailed, match="lock timeout") as failed:
            await asyncio.to_thread(upgrade, settings, clients)
    assert failed.value.migration == "0004_match_events"


async def test_a_statement_has_the_time_limit_of_its_caller(
    settings: Settings, clients: AwsClients, connection: Any
) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", 0x6D6A63746C)
        with pytest.raises(MigrationFailed, match="statement timeout"):
            await asyncio.to_thread(lambda: upgrade(settings, clients, seconds=0.2))


@pytest.mark.usefixtures("lambda_environment")
async def test_the_function_migrates_an_empty_database(connection: Any) -> None:
    await empty(connection)
    assert await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT) == {"heads": [], "applied": NAMES}
    assert await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT) == {"heads": ["0004"], "applied": []}


@pytest.mark.usefixtures("lambda_environment")
async def test_the_function_names_the_failed_migration(connection: Any) -> None:
    await empty(connection)
    await connection.execute("CREATE TABLE match_events (id int)")
    error = (await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT))["error"]
    assert (error["code"], error["migration"]) == ("migration_failed", "0004_match_events")
    assert "already exists" in error["message"]
