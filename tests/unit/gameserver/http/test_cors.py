from __future__ import annotations

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from gameserver.http.cors import cross_origin
from gameserver.runtime.settings import Settings, SettingsError

OURS, FOREIGN = "https://play.example.com", "https://evil.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
async def server() -> TestServer:
    async def hello(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application(middlewares=[cross_origin([OURS])])
    app.router.add_put("/v1/profile", hello)
    async with TestServer(app) as server:
        yield server


async def test_pages_of_our_origins_may_call(server: TestServer) -> None:
    async with ClientSession() as session:
        async with session.options(server.make_url("/v1/profile"), headers={"Origin": OURS, **PREFLIGHT}) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == OURS
            assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        async with session.put(server.make_url("/v1/profile"), headers={"Origin": OURS}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, OURS)
            assert answer.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", [FOREIGN, "null", "", f"{OURS}.evil.example", "https://PLAY.example.com"])
async def test_pages_of_other_origins_may_not_call(server: TestServer, origin: str) -> None:
    async with ClientSession() as session:
        async with session.options(server.make_url("/v1/profile"), headers={"Origin": origin, **PREFLIGHT}) as answer:
            assert answer.status == 405
            assert "Access-Control-Allow-Origin" not in answer.headers
        async with session.put(server.make_url("/v1/profile"), headers={"Origin": origin}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


def test_origins_come_from_the_environment() -> None:
    basics = {"GAMESERVER_PROJECT": "p", "GAMESERVER_ENVIRONMENT": "e", "GAMESERVER_REGION": "us-east-1"}
    settings = Settings.from_env({**basics, "GAMESERVER_CORS_ALLOW_ORIGINS": f"{OURS}, http://localhost:8080"})
    assert settings.cors_allow_origins == (OURS, "http://localhost:8080")
    for bad in ("*", "https://x.example.com/", "play.example.com", f"{OURS},"):
        with pytest.raises(SettingsError, match="GAMESERVER_CORS_ALLOW_ORIGINS"):
            Settings.from_env({**basics, "GAMESERVER_CORS_ALLOW_ORIGINS": bad})
