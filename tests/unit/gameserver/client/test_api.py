from __future__ import annotations

import socket

import pytest

from gameserver.client import ApiError, GameClient


async def test_a_call_without_an_answer_in_time_names_the_reason() -> None:
    # Linux completes the handshake of a connection that no program has accepted, so the call waits for its answer.
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with GameClient(url, timeout_seconds=0.1) as client:
            with pytest.raises(ApiError, match=f"unreachable: {url}: TimeoutError"):
                await client.log_in("player@example.com", "secret")
