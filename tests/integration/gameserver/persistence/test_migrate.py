"""Tests the migrations as the command `gameserver migrate` and the Lambda function `migrate` run them."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from gameserver.functions import lambda_handlers
from gameserver.persistence import migrate as module
from gameserver.persistence.migrate import MigrationFailed, upgrade
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

VERSIONS = Path(__file__).parents[4] / "gameserver" / "migrations" / "versions"
NAMES = sorted(path.stem for path in VERSIONS.glob("0*.py"))
HEAD = int(NAMES[-1][:4])
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


def migrate(environment: dict[str, str], folder: Path = module.MIGRATIONS) -> subprocess.CompletedProcess[str]:
    """Run `gameserver migrate` in a process, with the migrations in a folder."""
    code = (
        f"import pathlib, sys; from gameserver import __main__; from gameserver.persistence import migrate; "
        f"migrate.MIGRATIONS = pathlib.Path({str(folder)!r}); sys.argv[1:] = ['migrate']; sys.exit(__main__.main())"
    )
    command = [sys.executable, "-c", code]
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
    assert (list(again.heads), again.missing, again.applied) == ([NAMES[-1][:4]], [], [])


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


async def test_two_processes_at_once_run_a_migration_once(
    settings: Settings, run_environment: Any, connection: Any
) -> None:
    await empty(connection)
    environment = run_environment(settings)
    done = await asyncio.gather(*(asyncio.to_thread(migrate, environment) for _ in range(2)))
    assert [run.returncode for run in done] == [0, 0], done[0].stderr + done[1].stderr
    applied = [json.loads(run.stderr.splitlines()[-1])["applied"] for run in done]
    assert sorted(applied) == [[], NAMES]


async def test_the_migrations_end_at_the_time_limit_of_their_caller(
    settings: Settings, clients: AwsClients, connection: Any
) -> None:
    await connection.execute("SELECT pg_advisory_lock($1)", 0x6D6A63746C)
    with pytest.raises(MigrationFailed, match="took longer than 1 s") as failed:
        await asyncio.to_thread(lambda: upgrade(settings, clients, seconds=1))
    assert failed.value.migration is None


@pytest.fixture
def add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that adds a migration to the migrations that `upgrade` runs."""
    folder = tmp_path / "migrations"
    shutil.copytree(VERSIONS.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "MIGRATIONS", folder)
    numbers = itertools.count(int(NAMES[-1][:4]) + 1)

    def add(name: str, body: str) -> None:
        number = next(numbers)
        head = f"from alembic import op\nrevision, down_revision = '{number:04}', '{number - 1:04}'\n"
        (folder / "versions" / f"{number:04}_{name}.py").write_text(head + body)

    return add


async def test_a_hanging_migration_ends_and_leaves_the_old_schema(
    settings: Settings, clients: AwsClients, connection: Any, add_migration: Callable[[str, str], None]
) -> None:
    hangs = 'def upgrade():\n    op.execute("CREATE TABLE added (id int)")\n    op.execute("SELECT pg_sleep(30)")\n'
    add_migration("hangs", hangs)
    start = time.monotonic()
    with pytest.raises(MigrationFailed, match=r"took longer than 2 s|statement timeout") as failed:
        await asyncio.to_thread(lambda: upgrade(settings, clients, seconds=2))
    assert time.monotonic() - start < 10
    assert (failed.value.migration, failed.value.kept) == (f"{HEAD + 1:04}_hangs", ())
    assert await connection.fetchval("SELECT to_regclass('added')") is None
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
    for _ in range(50):
        if not await connection.fetchval(running):
            break
        await asyncio.sleep(0.1)
    assert await connection.fetchval(running) == 0


CONCURRENT = """
transactional = False
def upgrade():
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS by_server")
        op.execute("CREATE {kind} INDEX CONCURRENTLY by_server ON matches (server_id)")
"""


async def test_an_index_is_created_concurrently_while_a_second_process_waits(
    run_environment: Any, settings: Settings, connection: Any, add_migration: Callable[[str, str], None]
) -> None:
    add_migration("slow", 'def upgrade():\n    op.execute("SELECT pg_sleep(1)")\n')
    add_migration("index", CONCURRENT.format(kind=""))
    environment = run_environment(settings)
    both = await asyncio.gather(*(asyncio.to_thread(migrate, environment, module.MIGRATIONS) for _ in range(2)))
    assert [run.returncode for run in both] == [0, 0], both[0].stderr + both[1].stderr
    assert sorted(len(json.loads(run.stderr.splitlines()[-1])["applied"]) for run in both) == [0, 2]
    assert await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_server'::regclass")


async def test_a_failed_concurrent_index_keeps_the_migrations_before_it_and_can_be_repeated(
    settings: Settings, clients: AwsClients, connection: Any, add_migration: Callable[[str, str], None]
) -> None:
    first, second = f"{HEAD + 1:04}_first", f"{HEAD + 2:04}_index"
    add_migration("first", 'def upgrade():\n    op.execute("CREATE TABLE added (id int)")\n')
    add_migration("index", CONCURRENT.format(kind="UNIQUE"))
    await connection.execute(
        "INSERT INTO matches (match_id, region, server_id) VALUES ('a', 'r', 's'), ('b', 'r', 's')"
    )
    with pytest.raises(MigrationFailed, match=r"duplicate|unique") as failed:
        await asyncio.to_thread(upgrade, settings, clients)
    assert (failed.value.migration, failed.value.kept) == (second, (first,))
    assert await connection.fetchval("SELECT to_regclass('added')") == "added"
    await connection.execute("DELETE FROM matches WHERE match_id = 'b'")
    assert (await asyncio.to_thread(upgrade, settings, clients)).applied == [second]


@pytest.mark.usefixtures("lambda_environment")
async def test_the_function_migrates_an_empty_database(connection: Any) -> None:
    await empty(connection)
    assert await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT) == {"heads": [], "applied": NAMES}
    assert await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT) == {"heads": [NAMES[-1][:4]], "applied": []}


@pytest.mark.usefixtures("lambda_environment")
async def test_the_function_names_the_failed_migration(connection: Any) -> None:
    await empty(connection)
    await connection.execute("CREATE TABLE match_events (id int)")
    error = (await asyncio.to_thread(lambda_handlers.migrate, {}, CONTEXT))["error"]
    assert (error["code"], error["migration"]) == ("migration_failed", "0004_match_events")
    assert "already exists" in error["message"]
