"""Tests of game servers with TLS, and of the game's clients at an impostor whose certificate has another name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from cryptography import x509
from redis.exceptions import ConnectionError as RedisConnectionError

from gameserver.client import Bot, ConnectionLost, GameClient
from gameserver.cluster.directory import ServerInfo
from gameserver.functions.services import Services
from gameserver.persistence.database import connection_options
from gameserver.runtime.auth import KeysUnavailable
from gameserver.runtime.settings import Settings
from gameserver.runtime.tls import client_context
from gameserver.server.links import LinkRefused, Links
from mjctl.local import certificates
from mjctl.local.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    region_layout = Layout(tmp_path / "local" / "us-east-1")
    certificates.issue(region_layout)
    return region_layout


@pytest.fixture
def tls(layout: Layout) -> dict[str, str]:
    """Return the settings of a server that accepts TLS connections itself, without a load balancer."""
    return {
        "tls_ca_file": str(layout.tls_authority),
        "tls_certificate_file": str(layout.tls_certificate),
        "tls_key_file": str(layout.tls_key),
    }


@pytest.fixture
async def seat(layout: Layout, issuer: Any) -> AsyncIterator[Callable[..., GameClient]]:
    """Return the factory `seat("ada")` of players who trust the region's authority, or the authority in `trusts`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(player_id: str, trusts: Path | None = None) -> GameClient:
            context = ssl.create_default_context(cafile=trusts or layout.tls_authority)
            client = GameClient("", timeout_seconds=3, ssl_context=context)
            client.use_token(issuer.token(player_id))
            stack.push_async_callback(client.close)
            return client

        yield make


async def test_a_match_is_played_over_wss(start: Any, new_match: Any, seat: Any, tls: dict[str, str]) -> None:
    server = await start(**tls)
    url = server.host.identity.url
    assert url.startswith("wss://127.0.0.1:")
    spec = await new_match(server.host.identity.server_id, seconds=4.0)
    connections = [await seat(f"p{number}").join((spec.match_id, url)) for number in range(4)]
    reports = await asyncio.gather(*(Bot(connection).play() for connection in connections))
    assert len({str(report.result) for report in reports}) == 1
    assert all(report.latency_ms and report.reconnects == 0 for report in reports)


async def test_a_redirect_names_a_wss_address(start: Any, new_match: Any, seat: Any, tls: dict[str, str]) -> None:
    owner, other = await start(**tls), await start(**tls)
    spec = await new_match(owner.host.identity.server_id, seconds=5.0)
    await seat("ada").join((spec.match_id, owner.host.identity.url))
    sent_on = await seat("bob").join((spec.match_id, other.host.identity.url))
    assert sent_on.info.server_id == owner.host.identity.server_id


async def test_a_relay_between_servers_is_encrypted(start: Any, new_match: Any, seat: Any, tls: dict[str, str]) -> None:
    owner = await start(play_url="wss://play.test/", **tls)
    front = await start(play_url="wss://play.test/", **tls)
    spec = await new_match(owner.host.identity.server_id, seconds=2.0)
    assert owner.host.identity.private_url.startswith("wss://")
    direct = await seat("ada").join((spec.match_id, owner.host.identity.private_url))
    carried = await seat("bob").join((spec.match_id, front.host.identity.private_url))
    ada, bob = await asyncio.gather(Bot(direct).play(), Bot(carried).play())
    assert ada.result == bob.result
    assert front.host.metrics.relays == 1


async def test_a_relay_in_clear_is_not_opened(layout: Layout, tls: dict[str, str]) -> None:
    links = Links(authority=client_context(Settings("p", "e", "us-east-1", **tls)))  # type: ignore[arg-type]
    owner = ServerInfo("owner", "z", "wss://play.test/", 0, 0, 1, draining=False, private_url="ws://127.0.0.1:1/play")
    with pytest.raises(LinkRefused, match="without TLS"):
        links.context(owner)


async def test_a_server_with_tls_accepts_no_connection_in_clear(
    start: Any, new_match: Any, seat: Any, player: Any, tls: dict[str, str]
) -> None:
    server = await start(**tls)
    spec = await new_match(server.host.identity.server_id, seconds=5.0)
    with pytest.raises(ConnectionLost):
        await player("ada").join((spec.match_id, server.host.identity.url.replace("wss://", "ws://")))
    async with ClientSession() as http:
        with pytest.raises(ClientError):
            await http.get(f"http://127.0.0.1:{server.ops_port}/healthz")
        context = ssl.create_default_context(cafile=tls["tls_ca_file"])
        async with http.get(f"https://127.0.0.1:{server.ops_port}/healthz", ssl=context) as answer:
            assert answer.status == 200


async def test_a_player_of_another_authority_does_not_join(
    start: Any, new_match: Any, seat: Any, tls: dict[str, str], tmp_path: Path
) -> None:
    other = Layout(tmp_path / "local" / "elsewhere")
    certificates.issue(other)
    server = await start(**tls)
    spec = await new_match(server.host.identity.server_id, seconds=5.0)
    with pytest.raises(ConnectionLost):
        await seat("eve", other.tls_authority).join((spec.match_id, server.host.identity.url))
    assert server.host.players == 0


@pytest.fixture
def impostor(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Start a server whose certificate is signed by the region's authority, but for another host name.

    The attribute `heard` of the fixture counts the bytes that the server has received over TLS.
    """
    real = x509.SubjectAlternativeName
    with monkeypatch.context() as patch:
        patch.setattr(x509, "SubjectAlternativeName", lambda _: real([x509.DNSName("localhost")]))
        layout.tls_certificate.unlink()
        certificates.issue(layout)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(layout.tls_certificate, layout.tls_key)
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, *, postgres: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    if postgres:
                        connection.recv(8)
                        connection.sendall(b"S")
                    with context.wrap_socket(connection, server_side=True) as encrypted:
                        start.heard += len(encrypted.recv(1))  # type: ignore[attr-defined]

    def start(*, postgres: bool = False) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener,), kwargs={"postgres": postgres}, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    start.heard = 0  # type: ignore[attr-defined]
    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
async def trusting(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Services]]:
    """Return the factory `trusting(cache_url=...)` of services that require TLS and trust the region's authority."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(layout.tls_authority))
    started: list[Services] = []

    def make(**settings: Any) -> Services:
        basics = {"tls_required": True, "tls_ca_file": str(layout.tls_authority)}
        started.append(Services(Settings("p", "e", "us-east-1", **basics, **settings)))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for services in started:
        await services.close()


async def test_redis_with_a_certificate_of_another_name_is_not_used(impostor: Any, trusting: Any) -> None:
    services = trusting(cache_url=f"rediss://127.0.0.1:{impostor()}")
    with pytest.raises(RedisConnectionError, match="mismatch"):
        await services.cache.ping()
    assert impostor.heard == 0


async def test_postgres_with_a_certificate_of_another_name_is_not_used(impostor: Any, trusting: Any) -> None:
    import asyncpg

    port = impostor(postgres=True)
    services = trusting(database_host="127.0.0.1", database_port=port, database_name="game", database_user="game")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        await asyncpg.connect(**connection_options(services.settings, services.aws))
    assert impostor.heard == 0


async def test_a_key_set_behind_a_certificate_of_another_name_is_not_read(
    impostor: Any, trusting: Any, issuer: Any
) -> None:
    services = trusting(issuer=issuer.url, client_id="c", jwks_url=f"https://127.0.0.1:{impostor()}/jwks.json")
    with pytest.raises(KeysUnavailable):
        await services.verifier.verify(issuer.token("ada"))
    assert impostor.heard == 0


async def test_an_aws_with_a_certificate_of_another_name_is_not_called(
    impostor: Any, trusting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import SSLError

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    services = trusting(aws_endpoint_url=f"https://127.0.0.1:{impostor()}")
    with pytest.raises(SSLError):
        await services.aws.run(services.aws.sqs.list_queues)
    assert impostor.heard == 0


async def test_a_game_server_with_a_certificate_of_another_name_is_not_joined(impostor: Any, seat: Any) -> None:
    with pytest.raises(ConnectionLost):
        await seat("ada").join(("m-1", f"wss://127.0.0.1:{impostor()}/play"))
    assert impostor.heard == 0
