"""Checks TLS in a deployed region: on every hop, without a clear-text port, switched on and off without loss."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from picows import WSListener, ws_connect
from redis import Redis
from redis.exceptions import RedisError

from mjctl.clients import stores
from mjctl.clients.boto import RegionClients
from mjctl.files import read_json
from mjctl.fleet.listing import list_servers
from mjctl.local import certificates
from mjctl.local.credentials import redis_password
from mjctl.local.layout import Layout
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, UnreachableError
from mjctl.models.exit_codes import ExitCode

from .conftest import Operator, Ran, eventually

PROJECT = Path(__file__).parents[3]
REGION = "us-east-1"
ENVIRONMENT = "secure"
CONFIG = """
project: arena
target: local
regions:
  us-east-1:
    zones: [us-east-1a, us-east-1b, us-east-1c]
local:
  tls: {tls}
"""
STARTUP = b"\x00\x03\x00\x00user\x00game\x00database\x00game\x00\x00"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
IN_CLEAR = (
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"PING\r\n",
    (len(STARTUP) + 4).to_bytes(4, "big") + STARTUP,
)
# The first bytes of an answer by protocol: HTTP, Redis, and PostgreSQL's request to authenticate.
TAKEN = (b"HTTP/1", b"HTTP/2", b"+PONG", b"-NOAUTH", b"R")


@dataclass(frozen=True)
class Secure:
    """Runs commands in a project with the environment `secure`."""

    operator: Operator
    project: Path

    def configure(self, *, tls: bool) -> None:
        (self.project / "configs" / f"{ENVIRONMENT}.yaml").write_text(CONFIG.format(tls=str(tls).lower()))

    def run(self, *arguments: str) -> Ran:
        where = ("--env", ENVIRONMENT, "--region", REGION)
        return self.operator.run(*arguments, *where, MJCTL_PROJECT_DIR=str(self.project))

    def deploy(self) -> None:
        ran = self.run("deploy", "--auto-approve")
        assert ran.code == ExitCode.OK, ran.stderr

    @property
    def contract(self) -> Any:
        return self.run("outputs", "--output", "json").json()["regions"][0]["outputs"]

    @property
    def layout(self) -> Layout:
        return Layout(self.operator.home / ENVIRONMENT / REGION)

    @property
    def ports(self) -> dict[str, int]:
        return {name: int(port) for name, port in read_json(self.layout.ports).items()}

    def matches_kept(self) -> list[str]:
        """Return the ids of the matches in PostgreSQL."""
        return asyncio.run(self._matches_kept())

    async def _matches_kept(self) -> list[str]:
        connection = await asyncpg.connect(**self.database(), ssl=self.context if self.contract["ca_file"] else False)
        try:
            return [row["match_id"] for row in await connection.fetch("SELECT match_id FROM matches ORDER BY 1")]
        finally:
            await connection.close()

    def database(self) -> dict[str, Any]:
        """Return the arguments of asyncpg.connect without `ssl`."""
        password = read_json(self.layout.database_secret)["password"]
        server = {"host": "127.0.0.1", "port": self.ports["postgres"], "database": "game"}
        return {**server, "user": "game", "password": password}

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.layout.tls_authority)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Deploy a region with TLS."""
    folder = tmp_path_factory.mktemp("secure")
    secure = Secure(Operator(folder / "home"), folder / "project")
    (secure.project / "configs").mkdir(parents=True)
    for part in ("terraform", "gameserver", "mjctl", "web"):
        (secure.project / part).symlink_to(PROJECT / part)
    secure.configure(tls=True)
    secure.deploy()
    yield secure
    assert secure.run("destroy", "--auto-approve").code == ExitCode.OK
    assert secure.operator.processes() == []


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return a TLS context that trusts the authority of another region."""
    layout = Layout(tmp_path_factory.mktemp("stranger") / "local" / "elsewhere")
    certificates.issue(layout)
    return ssl.create_default_context(cafile=layout.tls_authority)


def say(port: int, words: bytes) -> bytes:
    """Return the answer of a listener to clear-text bytes, b"" if the listener closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(words)
            return connection.recv(200)
        except ConnectionError:
            return b""


def shown(port: int, context: ssl.SSLContext, name: str, *, postgres: bool) -> str:
    """Return the TLS version that a listener negotiates."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        if postgres:
            connection.sendall(SSL_REQUEST)
            assert connection.recv(1) == b"S"
        with context.wrap_socket(connection, server_hostname=name) as wrapped:
            return wrapped.version() or ""


def test_every_check_passes_and_a_match_is_played(secure: Secure) -> None:
    report = secure.run("health", "--output", "json")
    assert report.code == ExitCode.OK, report.stdout
    checks = {check["name"]: check for check in report.json()["checks"]}
    assert {checks[name]["status"] for name in ("match", "certificate", "database", "redis", "identity")} == {"pass"}
    played = secure.run("loadtest", "--players", "4", "--duration", "10", "--matches-of", "4", "--output", "json")
    assert played.code == ExitCode.OK, played.stdout + played.stderr
    assert secure.run("servers", "list", "--output", "json").json()["regions"][0]["servers"][0]["state"] == "ready"
    assert secure.run("cache", "stats", "--output", "json").code == ExitCode.OK
    assert secure.run("queue", "list", "--output", "json").code == ExitCode.OK
    backup = secure.run("backup", "create", "--output", "json")
    assert backup.code == ExitCode.OK, backup.stderr
    assert secure.run("backup", "verify").code == ExitCode.OK


def test_every_address_in_the_contract_asks_for_tls(secure: Secure) -> None:
    contract = secure.contract
    assert contract["ca_file"] == str(secure.layout.tls_authority)
    assert contract["database"]["tls"] is True
    addresses = [part for part in json.dumps(contract).split('"') if "://" in part]
    assert {address.split("://")[0] for address in addresses} == {"https", "rediss", "tcp", "wss"}


def test_every_port_refuses_clear_text(secure: Secure) -> None:
    assert len(secure.ports) == 12
    for name, port in secure.ports.items():
        for words in IN_CLEAR:
            assert not say(port, words).startswith(TAKEN), name
        assert shown(port, secure.context, "127.0.0.1", postgres=name == "postgres") == "TLSv1.3", name


def test_a_client_without_the_authority_refuses_every_port(secure: Secure, stranger: ssl.SSLContext) -> None:
    for name, port in secure.ports.items():
        for context in (stranger, ssl.create_default_context()):
            with pytest.raises(ssl.SSLCertVerificationError):
                shown(port, context, "127.0.0.1", postgres=name == "postgres")


def test_a_client_that_asks_for_another_name_refuses_every_port(secure: Secure) -> None:
    for name, port in secure.ports.items():
        with pytest.raises(ssl.SSLCertVerificationError, match=r"IP address mismatch|Hostname mismatch"):
            shown(port, secure.context, "127.0.0.2", postgres=name == "postgres")


async def test_clients_of_every_protocol_meet_a_refusal_or_refuse(secure: Secure, stranger: ssl.SSLContext) -> None:
    contract = secure.contract
    authority = str(secure.layout.tls_authority)
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncpg.connect(**secure.database(), ssl=stranger)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(**secure.database(), ssl=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        await ws_connect(WSListener, contract["fleet"]["servers"][0]["play_url"], ssl_context=stranger)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(contract["endpoints"]["api"])
    port = secure.ports["redis"]
    password = redis_password(secure.layout)
    assert Redis.from_url(contract["cache"]["url"], password=password, ssl_ca_certs=authority).ping() is True
    for wrong in (f"redis://127.0.0.1:{port}", f"rediss://127.0.0.1:{port}"):
        with pytest.raises(RedisError):
            Redis.from_url(wrong, password=password, socket_timeout=5).ping()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
    once = Config(retries={"total_max_attempts": 1})
    aws = boto3.client("sqs", endpoint_url=contract["aws"]["endpoint_url"], config=once, **keys)
    with pytest.raises(SSLError):
        aws.list_queues()


async def test_the_operators_clients_refuse_another_authority(secure: Secure, tmp_path: Path) -> None:
    other = Layout(tmp_path / "local" / "elsewhere")
    certificates.issue(other)
    contract = Contract.parse({**secure.contract, "ca_file": str(other.tls_authority)})
    with RegionClients(contract, attempts=1) as clients:
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            async with stores.database(contract, clients):
                pass
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            async with stores.cache(contract, clients) as cache:
                await cache.ping()
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await clients.call("sqs", "list_queues")
    assert {row.state for row in await list_servers(contract)} == {"no answer"}
    other.tls_authority.unlink()
    with pytest.raises(NotFoundError, match="cannot read the certificate of the region's authority"):
        await list_servers(contract)


def test_the_page_may_connect_to_encrypted_servers_only(secure: Secure) -> None:
    async def policy() -> str:
        async with (
            aiohttp.ClientSession() as http,
            http.get(secure.contract["endpoints"]["web"], ssl=secure.context) as page,
        ):
            return page.headers["Content-Security-Policy"]

    assert "connect-src 'self' wss://127.0.0.1:*;" in asyncio.run(policy())


def test_no_key_leaves_its_file(secure: Secure) -> None:
    layout = secure.layout
    keys = {path.read_text() for path in (layout.tls_authority_key, layout.tls_key)}
    lines = {line for key in keys for line in key.splitlines() if not line.startswith("-----")}
    for path in layout.tls.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (*layout.region_dir.rglob("*"), *(layout.region_dir.parent / "releases").rglob("*.json")):
        if path.is_file() and path.parent != layout.tls and path.stat().st_size < 1 << 22:
            content = path.read_text(errors="replace")
            assert not any(line in content for line in lines), path
    for process in secure.operator.processes():
        assert not any(line in " ".join(process.cmdline()) for line in lines)


def test_a_second_deploy_keeps_authority_and_processes(secure: Secure) -> None:
    before = {path.name: path.read_bytes() for path in secure.layout.tls.iterdir()}
    ran = secure.run("deploy", "--auto-approve", "--output", "json")
    assert ran.json()["regions"][0]["outcome"] == "unchanged"
    assert {path.name: path.read_bytes() for path in secure.layout.tls.iterdir()} == before


def test_a_certificate_near_its_end_is_replaced_by_the_next_deploy(
    secure: Secure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in secure.layout.tls.iterdir()}
    monkeypatch.setattr(certificates, "_SERVER_DAYS", 20)
    secure.layout.tls_certificate.unlink()
    certificates.issue(secure.layout)
    try:
        ran = secure.run("plan", "--output", "json")
        changes = {change["address"]: change["action"] for change in ran.json()["regions"][0]["changes"]}
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    assert changes["terraform_data.certificates[0]"] == "replace"
    assert len(changes) > 8, "every process takes up the new one"


def is_healthy(secure: Secure) -> bool:
    return secure.run("health").code == ExitCode.OK


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_off_and_on_again_keeps_every_match(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = secure.layout.tls_authority.read_bytes()
    eventually(lambda: is_healthy(secure), 120, "healthy, with a match played")
    eventually(lambda: bool(secure.matches_kept()), 60, "the match that health played is stored")
    kept = secure.matches_kept()
    secure.configure(tls=False)
    secure.deploy()
    contract = secure.contract
    assert contract["ca_file"] is None
    assert {contract["endpoints"]["api"][:7], contract["fleet"]["servers"][0]["play_url"][:5]} == {"http://", "ws://"}
    assert set(secure.matches_kept()) >= set(kept)
    eventually(lambda: is_healthy(secure), 120, "healthy without TLS, with a match played")
    # The certificate of the region expires in 20 days, as after almost a year.
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "_SERVER_DAYS", 20)
        secure.layout.tls_certificate.unlink()
        certificates.issue(secure.layout)
    secure.configure(tls=True)
    secure.deploy()
    assert secure.layout.tls_authority.read_bytes() == authority
    assert set(secure.matches_kept()) > set(kept), "the match that health played in clear is there too"
    eventually(lambda: is_healthy(secure), 120, "healthy with TLS again")
    report = {check["name"]: check for check in secure.run("health", "--output", "json").json()["checks"]}
    assert report["certificate"]["evidence"]["days_left"] > 360
    test_every_port_refuses_clear_text(secure)
