"""Tests that this process resolves the names of a stage, with every library by which mjctl connects to a region."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import aiohttp
import pytest
from picows import WSError, ws_connect

from mjctl.clients import stage_names
from mjctl.clients.stage_names import address_of, resolve_names_of
from mjctl.clients.tls import ssl_context
from mjctl.models.contract import Contract

MakeContract = Callable[..., Contract]
NAME = "api.stage.invalid"


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers["Host"]).encode())

    def log_message(self, *_: object) -> None:
        """Write no access log."""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    stage_names.forget()


@pytest.fixture
def names_file(tmp_path: Path) -> Path:
    file = tmp_path / "names.json"
    file.write_text(json.dumps({NAME: "127.0.0.1"}))
    return file


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{NAME}:{server.server_port}/"
        server.shutdown()


def test_only_the_names_of_the_stage_resolve_to_it(make_contract: MakeContract, names_file: Path) -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(NAME, 443)
    resolve_names_of(make_contract(names_file=str(names_file)))
    assert {entry[4] for entry in socket.getaddrinfo(NAME, 443)} == {("127.0.0.1", 443)}
    assert {entry[4][0] for entry in socket.getaddrinfo(f"{NAME.upper()}.".encode(), 443)} == {"127.0.0.1"}
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("other.stage.invalid", 443)
    assert socket.getaddrinfo(None, 443)


def test_a_region_without_a_stage_changes_nothing(make_contract: MakeContract) -> None:
    before = socket.getaddrinfo
    resolve_names_of(make_contract())
    assert socket.getaddrinfo is before


def test_names_that_a_deploy_adds_resolve_at_once(make_contract: MakeContract, names_file: Path) -> None:
    contract = make_contract(names_file=str(names_file))
    resolve_names_of(contract)
    assert address_of("play.stage.invalid") is None
    names_file.write_text(json.dumps({"play.stage.invalid": "127.0.0.2"}))
    os.utime(names_file, ns=(1, 1))
    assert address_of("play.stage.invalid") == "127.0.0.2"
    names_file.unlink()
    assert address_of("play.stage.invalid") is None


async def test_every_library_of_mjctl_resolves_the_names(
    make_contract: MakeContract, names_file: Path, url: str
) -> None:
    # mjctl makes this context before it connects to the servers of a region.
    ssl_context(make_contract(names_file=str(names_file)))
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert NAME in await answer.text()
    assert NAME in (await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())).decode()  # noqa: S310
    # The server speaks no WebSocket, so the handshake fails after the connection.
    with pytest.raises(WSError):
        await ws_connect(lambda: None, url.replace("http", "ws"))  # type: ignore[arg-type,return-value]
    _, writer = await asyncio.open_connection(NAME, int(url.rsplit(":", 1)[1].strip("/")))
    assert writer.get_extra_info("peername")[0] == "127.0.0.1"
    writer.close()
