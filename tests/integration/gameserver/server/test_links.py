"""Tests of the links between game servers whose certificates are in the directory of the region."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from picows import WSError, WSListener, ws_connect

from gameserver.client import Bot, ConnectionLost, GameClient
from gameserver.cluster.directory import ServerInfo
from gameserver.runtime.own_certificate import OwnCertificate, decoded
from gameserver.server.relay import RELAYED_HEADER

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PLAY_URL = "wss://play.test/"


@pytest.fixture
async def begin(start: Any, eventually: Any) -> Callable[..., Any]:
    """Return a function that starts a server with its own certificate, and waits until all other servers accept it."""
    servers: list[Any] = []

    async def make(**overrides: Any) -> Any:
        server = await start(tls_own_certificate=True, play_url=PLAY_URL, **overrides)
        der = server.host.links.own.der

        async def known() -> bool:
            return all(other.host.links.admits(der) for other in servers if other.heartbeat.last_beat)

        await eventually(known, 5.0)
        servers.append(server)
        return server

    return make


@pytest.fixture
def through(player: Any) -> Callable[[str], GameClient]:
    """Return a factory of players whose client, like a load balancer, verifies no certificate."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return lambda player_id: player(player_id, trusting)


def play_port(server: Any) -> str:
    return f"wss://127.0.0.1:{server._listeners.port}/play"


async def entry(directory: Any, server: Any) -> ServerInfo:
    return next(info for info in await directory.servers() if info.id == server.host.identity.server_id)


class Watcher(WSListener):
    """Notes whether the connection is open, and whether the server has closed it."""

    def __init__(self) -> None:
        self.opened = False
        self.closed = asyncio.Event()

    def on_ws_connected(self, transport: Any) -> None:
        self.opened = True

    def on_ws_disconnected(self, transport: Any) -> None:
        self.closed.set()


async def link(url: str, context: ssl.SSLContext | None) -> Watcher:
    """Open a link as a server does, and return the object that notes its end."""
    headers = {"Sec-WebSocket-Protocol": "mj1.msgpack", RELAYED_HEADER: "1"}
    watcher = Watcher()
    await ws_connect(lambda: watcher, url, ssl_context=context, extra_headers=headers, websocket_handshake_timeout=2.0)
    return watcher


async def refused(url: str, context: ssl.SSLContext | None) -> bool:
    """Return whether a server refuses a link, by its TLS handshake or by closing the link at once."""
    try:
        watcher = await link(url, context)
    except (OSError, WSError):
        return True
    if not watcher.opened:
        return True
    try:
        await asyncio.wait_for(watcher.closed.wait(), 0.5)
    except TimeoutError:
        return False
    return True


async def test_a_player_is_relayed_on_a_link_that_both_servers_authenticate(
    begin: Any, new_match: Any, through: Any, directory: Any
) -> None:
    owner, front = await begin(), await begin()
    spec = await new_match(owner.host.identity.server_id, seconds=2.0)
    direct = await through("ada").join((spec.match_id, play_port(owner)))
    carried = await through("bob").join((spec.match_id, play_port(front)))
    ada, bob = await asyncio.gather(Bot(direct).play(), Bot(carried).play())
    assert ada.result == bob.result
    assert (front.host.metrics.relays, owner.host.metrics.relays) == (1, 0)
    published = await entry(directory, owner)
    assert published.private_url == f"wss://127.0.0.1:{owner._listeners.peer_port}/play"
    assert decoded(published.certificate) == owner.host.links.own.der


async def test_only_a_server_in_the_directory_can_open_a_link(begin: Any, directory: Any) -> None:
    owner, front = await begin(), await begin()
    url, der = owner.host.identity.private_url, owner.host.links.own.der
    assert not await refused(url, front.host.links.own.connecting(der))
    assert await refused(url, OwnCertificate().connecting(der))
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname = False
    anonymous.verify_mode = ssl.CERT_NONE
    assert await refused(url, anonymous)
    assert await refused(url.replace("wss://", "ws://"), None)


async def test_a_server_that_left_the_directory_cannot_open_a_link(begin: Any, directory: Any, eventually: Any) -> None:
    owner, leaver = await begin(), await begin()
    context = leaver.host.links.own.connecting(owner.host.links.own.der)
    url = owner.host.identity.private_url
    assert not await refused(url, context)
    await leaver._stop()
    await directory.deregister(leaver.host.identity.server_id)

    async def forgotten() -> bool:
        return not owner.host.links.admits(leaver.host.links.own.der)

    await eventually(forgotten, 5.0)
    assert await refused(url, context)


async def test_a_link_to_a_server_with_another_certificate_is_not_opened(begin: Any) -> None:
    owner, front = await begin(), await begin()
    context = front.host.links.own.connecting(OwnCertificate().der)
    with pytest.raises(ssl.SSLCertVerificationError):
        await link(owner.host.identity.private_url, context)


@pytest.mark.parametrize("start_of_validity", [NOW - 2 * DAY, NOW + DAY], ids=["expired", "not yet valid"])
async def test_a_certificate_outside_its_validity_is_refused_at_both_ends(
    begin: Any, start_of_validity: datetime.datetime
) -> None:
    owner = await begin()
    stale = OwnCertificate(DAY, start_of_validity)
    info = ServerInfo("stale", "z", PLAY_URL, 0, 0, 1, draining=False, certificate=stale.published)
    owner.host.links.see([info])
    assert owner.host.links.admits(stale.der)
    assert await refused(owner.host.identity.private_url, stale.connecting(owner.host.links.own.der))
    listener = stale.accepting()
    listener.load_verify_locations(cadata=owner.host.links.own.der)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=listener)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        await link(f"wss://127.0.0.1:{port}/play", owner.host.links.own.connecting(stale.der))
    server.close()


async def test_players_are_relayed_to_a_server_that_has_restarted_with_a_new_certificate(
    begin: Any, start: Any, new_match: Any, through: Any
) -> None:
    front = await begin()
    for player in ("ada", "bob"):
        owner = await start(tls_own_certificate=True, play_url=PLAY_URL, server_id="game-owner")
        spec = await new_match("game-owner", seconds=1.0)
        await through(f"first-{player}").join((spec.match_id, play_port(owner)))
        carried = await through(player).join((spec.match_id, play_port(front)))
        assert carried.info.server_id == "game-owner"
        await owner.drain()
        await owner._stop()
    assert front.host.metrics.relays == 2


async def test_a_server_that_the_owner_has_not_seen_yet_relays_its_players(
    begin: Any, start: Any, new_match: Any, through: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await begin()
    spec = await new_match(owner.host.identity.server_id, seconds=5.0)
    await through("ada").join((spec.match_id, play_port(owner)))
    with monkeypatch.context() as patch:
        patch.setattr(owner.host.links, "see", lambda _: None)
        front = await start(tls_own_certificate=True, play_url=PLAY_URL)
        joining = asyncio.create_task(through("bob").join((spec.match_id, play_port(front))))
        await asyncio.sleep(0.05)
    carried = await joining
    assert carried.info.server_id == owner.host.identity.server_id
    assert (front.host.metrics.relays, front.host.metrics.redirects) == (1, 0)


async def test_no_listener_accepts_a_connection_in_clear(begin: Any, new_match: Any, player: Any) -> None:
    server = await begin()
    spec = await new_match(server.host.identity.server_id, seconds=5.0)
    with pytest.raises(ConnectionLost):
        await player("ada").join((spec.match_id, play_port(server).replace("wss://", "ws://")))
    async with ClientSession() as http:
        with pytest.raises(ClientError):
            await http.get(f"http://127.0.0.1:{server.ops_port}/servingz")
        async with http.get(f"https://127.0.0.1:{server.ops_port}/servingz", ssl=False) as answer:
            assert answer.status == 200


async def test_a_player_cannot_pretend_at_the_play_port_to_come_from_a_server(
    begin: Any, new_match: Any, through: Any
) -> None:
    owner, front = await begin(), await begin()
    spec = await new_match(owner.host.identity.server_id, seconds=5.0)
    await through("ada").join((spec.match_id, play_port(owner)))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    await link(play_port(front), trusting)
    assert [connection.from_server for connection in front.host._connections] == [False]
