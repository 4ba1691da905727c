"""Tests the servers of the emulated Aurora with every PostgreSQL installation of this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gameserver.persistence.migrate import MigrationFailed, upgrade
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings
from mjctl.files import write_private
from mjctl.local import postgres
from mjctl.models.errors import UnreachableError
from mjctl.sandbox.stage import postgres_server
from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.containers import ContainerEngine
from mjctl.sandbox.stage.postgres_server import PostgresServer
from mjctl.sandbox.stage.postgres_volume import Source, Volume
from mjctl.sandbox.stage.rounds import socket_folder

pytestmark = pytest.mark.timeout(120)

INSTALLED = postgres.installations()


class Machine:
    """Holds the objects that a server of the emulated Aurora needs."""

    def __init__(self, folder: Path) -> None:
        self.addresses = Addresses(folder)
        self.engine = ContainerEngine(folder / "containers", self.addresses, "test")
        self.engine.recipes.append((re.compile(postgres_server.IMAGE), postgres_server.recipe))
        self.sockets = socket_folder(self.addresses)
        self.volume = Volume(folder / "volume")

    def start(self, name: str, data: Path, source: Source | None) -> PostgresServer:
        server = PostgresServer(self.engine, name, self.sockets)
        server.start(
            data,
            password_file=self.volume.password_file,
            shared_sockets=self.sockets / "vol" if source is None else None,
            source=source,
        )
        return server

    async def connect(self, server: PostgresServer) -> Any:
        return await asyncpg.connect(host=str(server.sockets), user="game", password="password", database="game")


@pytest.fixture(params=INSTALLED, ids=[path.parent.name for path in INSTALLED])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(postgres, "installations", lambda: [request.param])
    machine = Machine(tmp_path)
    yield machine
    machine.engine.close()
    machine.addresses.close()


async def test_a_copy_follows_and_is_promoted(machine: Machine) -> None:
    machine.volume.create("game", "password", "game")
    writer = machine.start("writer", machine.volume.data, None)
    source = Source("arn", machine.sockets / "vol", machine.volume.password, machine.volume.version)
    machine.volume.make_copy_for("reader", source)
    reader = machine.start("reader", machine.volume.copy_for("reader"), source)
    connection = await machine.connect(writer)
    await connection.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    await connection.close()
    follower = await machine.connect(reader)
    for _ in range(100):
        if await follower.fetchval("SELECT to_regclass('t') IS NOT NULL"):
            break
        await asyncio.sleep(0.05)
    assert await follower.fetchval("SELECT n FROM t") == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await follower.execute("INSERT INTO t VALUES (2)")
    await follower.close()
    writer.stop()
    reader.promote()
    promoted = await machine.connect(reader)
    await promoted.execute("INSERT INTO t VALUES (2)")
    await promoted.close()


async def test_static_parameters_wait_for_a_restart_and_unknown_parameters_are_skipped(machine: Machine) -> None:
    machine.volume.create("game", "password", None)
    server = machine.start("writer", machine.volume.data, None)
    parameters = {"max_connections": "30", "log_statement": "ddl", "apg_of_aurora": "1", "work_mem": "8192"}
    assert server.apply(parameters) == ["max_connections"]
    assert server.sql("SHOW log_statement; SHOW work_mem; SHOW max_connections") == "ddl\n8MB\n100"
    server.apply({"max_connections": "30"})
    assert server.sql("SHOW work_mem") == "4MB"
    server.stop()
    server = machine.start("writer", machine.volume.data, None)
    assert server.sql("SHOW max_connections") == "30"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secret = tmp_path / "secret.json"
    write_private(secret, '{"password": "password"}')
    return Settings(
        project="arena",
        environment="it-1",
        region="us-east-1",
        database_name="game",
        database_user="game",
        database_secret=f"file:{secret}",
    )


@pytest.mark.parametrize("machine", INSTALLED[:1], indirect=True)
async def test_the_migrations_create_a_user_that_reads_and_changes_rows_only(
    machine: Machine, settings: Settings
) -> None:
    machine.volume.create("game", "password", "game")
    server = machine.start("writer", machine.volume.data, None)
    settings = dataclasses.replace(settings, database_host=str(server.sockets))
    user, aws = settings.application_user, AwsClients("us-east-1")
    assert user == "arena_it_1_app"
    roles = f"SELECT pg_has_role('{user}', 'rds_iam', 'member'), pg_has_role('{user}', 'game', 'member')"

    server.sql("\\c game\nCREATE TABLE matches (n int)")
    with pytest.raises(MigrationFailed):
        await asyncio.to_thread(upgrade, settings, aws)
    assert server.sql(roles) == "t|f", "the user exists even if a migration fails"
    server.sql("\\c game\nDROP TABLE matches")
    await asyncio.to_thread(upgrade, settings, aws)
    check_permissions(server, user)

    # The schema of an older release exists already, but the user does not.
    server.sql(f"\\c game\nDROP OWNED BY {user}; DROP ROLE {user}")
    for _ in range(2):
        await asyncio.to_thread(upgrade, settings, aws)
        assert server.sql(roles) == "t|f"
        check_permissions(server, user)
    connection = await machine.connect(server)
    await connection.execute("CREATE TABLE later (n int)")
    await connection.close()
    server.sql(f"\\c game\nSET ROLE {user};\nINSERT INTO later VALUES (1)")
    aws.close()


def check_permissions(server: PostgresServer, user: str) -> None:
    as_user = f"\\c game\nSET ROLE {user};\n"
    allowed = {
        "INSERT INTO matches (match_id, region, server_id) VALUES ('a', 'r', 's') RETURNING match_id": "a",
        "UPDATE matches SET mode = 'arena' RETURNING mode": "arena",
        "DELETE FROM matches RETURNING mode": "arena",
        "SELECT count(*) FROM alembic_version": "1",
    }
    for statement, answer in allowed.items():
        assert server.sql(as_user + statement) == answer
    for refused in ("CREATE TABLE t (id int)", "DROP TABLE matches", "TRUNCATE matches", "DELETE FROM alembic_version"):
        with pytest.raises(UnreachableError, match=r"permission denied|must be owner"):
            server.sql(as_user + refused)
