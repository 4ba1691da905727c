from __future__ import annotations

import socket
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gameserver.client import ApiError, GameClient


async def test_a_call_without_an_answer_in_time_names_the_reason() -> None:
    # Linux completes the handshake of a connection that no program has accepted, so the call waits for its answer.
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with GameClient(url, timeout_seconds=0.1) as client:
            with pytest.raises(ApiError, match=f"unreachable: {url}: TimeoutError"):
                await client.log_in("player@example.com", "secret")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"message": "Unauthorized"}, "401 unauthorized: Unauthorized"),
        (404, {"message": "Not Found"}, "404 not_found: Not Found"),
        (429, {"message": "Too Many Requests"}, "429 too_many_requests: Too Many Requests"),
        (503, {"message": "Service Unavailable"}, "503 unavailable: Service Unavailable"),
        (401, {"error": {"code": "login_expired", "message": "log in again"}}, "401 login_expired: log in again"),
        (418, {"message": "a teapot"}, "418 bad_answer: the API's error has no code"),
        (401, {"message": 1}, "401 bad_answer: the API's error has no code"),
    ],
)
async def test_an_error_of_the_api_gateway_itself_has_the_code_of_the_functions(
    status: int, body: dict[str, Any], message: str
) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_get("/v1/profile", refuse)
    async with TestServer(application) as server, GameClient(str(server.make_url("/")).rstrip("/")) as client:
        with pytest.raises(ApiError) as refused:
            await client.profile()
    assert str(refused.value) == message
