"""Tests the servers of the emulated Aurora with every PostgreSQL installation of this machine, with and without TLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from mjctl.local import postgres
from mjctl.local.tls import has_tls
from mjctl.sandbox.stage import postgres_server
from mjctl.sandbox.stage.addresses import Addresses
from mjctl.sandbox.stage.authority import Authority
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
        self.authority = Authority(folder / "authority")
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
            certificate=self.authority.issue([f"{name}.example.com"]),
            tls_required=True,
        )
        return server

    async def connect(self, server: PostgresServer, name: str, *, tls: bool = True) -> Any:
        context = ssl.create_default_context(cafile=str(self.authority.certificate_file))
        context.check_hostname = False
        return await asyncpg.connect(
            host=server.behind, user="game", password="password", database="game", ssl=context if tls else False
        )


@pytest.fixture(
    params=INSTALLED,
    ids=[f"{path.parent.name}-{'tls' if has_tls(path / 'postgres') else 'plain'}" for path in INSTALLED],
)
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(postgres, "installations", lambda: [request.param])
    machine = Machine(tmp_path)
    yield machine
    machine.engine.close()
    machine.addresses.close()


async def test_a_server_requires_tls_and_a_copy_follows_and_is_promoted(machine: Machine) -> None:
    machine.volume.create("game", "password", "game")
    writer = machine.start("writer", machine.volume.data, None)
    source = Source("arn", machine.sockets / "vol", machine.volume.password, machine.volume.version)
    machine.volume.make_copy_for("reader", source)
    reader = machine.start("reader", machine.volume.copy_for("reader"), source)
    with pytest.raises(asyncpg.PostgresError, match=r"no encryption|TLS only"):
        await machine.connect(writer, "writer", tls=False)
    connection = await machine.connect(writer, "writer")
    await connection.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    await connection.close()
    follower = await machine.connect(reader, "reader")
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
    promoted = await machine.connect(reader, "reader")
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
