"""Tests the files of the web client over HTTP: their content, their caching, and the policy of the page."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gameserver.http.web_files import WebClient, client_config, content_security_policy, load_files, play_origins
from gameserver.runtime.settings import Mode, SettingsError

MODES = (
    Mode("arena", seats=10, duration_seconds=180),
    Mode("probe", seats=2, duration_seconds=2),
    Mode("chess", seats=2, duration_seconds=600, rules="studio.chess"),
)
WEB = Path(__file__).parents[4] / "web"
NAMES = sorted(path.name for path in WEB.iterdir())

ClientOf = Callable[[WebClient], Awaitable[TestClient[Any, Any]]]


class Fleet:
    """Returns the addresses of the game servers, or fails as if they were unknown."""

    def __init__(self) -> None:
        self.found: list[str] | None = ["ws://127.0.0.1:4001", "wss://play.example.com/play"]

    async def __call__(self) -> list[str]:
        if self.found is None:
            raise ConnectionError("Redis is away")
        return self.found


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    async with AsyncExitStack() as held:

        async def serve(served: WebClient) -> TestClient[Any, Any]:
            app = web.Application()
            app.add_routes(served.routes())
            return await held.enter_async_context(TestClient(TestServer(app), auto_decompress=False))

        yield serve


@pytest.fixture
async def client(fleet: Fleet, client_of: ClientOf) -> TestClient[Any, Any]:
    return await client_of(WebClient(WEB, MODES, fleet))


def directives(policy: str) -> dict[str, list[str]]:
    parts = [directive.split() for directive in policy.split(";")]
    return {name: values for name, *values in parts}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/config.json", "application/json; charset=utf-8"),
    ],
)
async def test_each_file_has_its_content_type(client: TestClient[Any, Any], path: str, content_type: str) -> None:
    answer = await client.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_file_of_the_folder_is_served_unchanged(client: TestClient[Any, Any]) -> None:
    for name in NAMES:
        answer = await client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
        assert await answer.read() == (WEB / name).read_bytes()


async def test_files_are_compressed_for_clients_that_accept_gzip(client: TestClient[Any, Any]) -> None:
    plain = await client.get("/app.js", headers={"Accept-Encoding": "identity"})
    zipped = await client.get("/app.js", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.headers["Vary"] == "Accept-Encoding"
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert gzip.decompress(await zipped.read()) == await plain.read()


async def test_a_known_version_is_not_sent_again(client: TestClient[Any, Any]) -> None:
    first = await client.get("/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": f'"other", {first.headers["ETag"]}'}
    again = await client.get("/app.js", headers=known)
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (await client.get("/app.js", headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    "path", ["/../settings.py", "/..%2fsettings.py", "/%2e%2e/settings.py", "/web/app.js", "/no.js", "//app.js"]
)
async def test_other_paths_are_not_served(client: TestClient[Any, Any], path: str) -> None:
    # The test writes the request itself, because an HTTP client would normalise the path.
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: game\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_the_next_request_gets_the_new_client_after_the_link_changes(
    tmp_path: Path, fleet: Fleet, client_of: ClientOf
) -> None:
    for name, style in (("old", "body { color: black }"), ("new", "body { color: white }")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text("<!doctype html>")
        (tmp_path / name / "style.css").write_text(style)
    (tmp_path / "new" / "more.js").write_text("export {}")
    link = tmp_path / "web"
    link.symlink_to("old")
    client = await client_of(WebClient(link, MODES, fleet))
    first = await client.get("/style.css")
    assert "black" in await first.text()
    assert (await client.get("/more.js")).status == 404
    for target, colour, status in (("new", "white", 200), ("old", "black", 404)):
        (tmp_path / "next").symlink_to(target)
        (tmp_path / "next").replace(link)
        answer = await client.get(
            "/style.css", headers={"If-None-Match": first.headers["ETag"]} if target == "new" else {}
        )
        assert colour in await answer.text()
        assert (await client.get("/more.js")).status == status


async def test_the_files_in_memory_are_served_after_the_folder_is_lost(
    tmp_path: Path, fleet: Fleet, client_of: ClientOf
) -> None:
    link = tmp_path / "web"
    link.symlink_to(WEB)
    client = await client_of(WebClient(link, MODES, fleet))
    link.unlink()
    assert (await client.get("/")).status == 200
    (tmp_path / "web").mkdir()
    assert (await client.get("/app.js")).status == 200, "a folder without a page is no client"


def test_a_process_does_not_start_with_a_folder_without_a_client(tmp_path: Path, fleet: Fleet) -> None:
    with pytest.raises(SettingsError, match=r"GAMESERVER_WEB_DIR: .*has no index\.html"):
        WebClient(tmp_path, MODES, fleet)
    with pytest.raises(SettingsError, match=r"GAMESERVER_WEB_DIR: .*No such file or directory"):
        WebClient(tmp_path / "none", MODES, fleet)


async def test_the_policy_lets_the_page_connect_to_its_servers_only(client: TestClient[Any, Any], fleet: Fleet) -> None:
    policy = directives((await client.get("/")).headers["Content-Security-Policy"])
    assert policy["connect-src"] == ["'self'", "ws://127.0.0.1:*", "wss://play.example.com"]
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'none'"]
    fleet.found = None
    later = directives((await client.get("/")).headers["Content-Security-Policy"])
    assert later["connect-src"] == policy["connect-src"], "what was known stays known"


async def test_the_policy_allows_the_host_of_the_page_before_any_server_is_known(
    client: TestClient[Any, Any], fleet: Fleet
) -> None:
    fleet.found = None
    policy = directives((await client.get("/", headers={"Host": "game.test:8080"})).headers["Content-Security-Policy"])
    assert policy["connect-src"] == ["'self'", "ws://game.test:*"]


def test_an_address_cannot_add_directives_to_the_policy() -> None:
    odd = ["ws://a;script-src *", "ws://a b:1/", "http://x:1", "", "ws://user:secret@h:1/play", "ws://[::1]:9"]
    assert play_origins(odd) == {"ws://h:*", "ws://[::1]:*"}
    assert "secret" not in content_security_policy(play_origins(odd))


def test_the_lobby_offers_only_modes_for_people_with_rules_that_the_client_draws() -> None:
    assert json.loads(client_config("https://api.example.com", MODES)) == {
        "api": "https://api.example.com",
        "modes": [{"name": "arena", "seats": 10, "duration_seconds": 180}],
    }


def test_the_page_has_no_inline_code_and_loads_nothing_from_other_origins() -> None:
    files = load_files(WEB, MODES)
    page = files["index.html"].body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    referred = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    for name, file in files.items():
        if name.endswith(".js"):
            text = file.body.decode()
            referred |= {module.removeprefix("./") for module in re.findall(r'from "([^"]+)"', text)}
            assert not re.search(r"innerHTML|outerHTML|\beval\b|new Function|https?://", text), name
    assert referred <= set(files)
