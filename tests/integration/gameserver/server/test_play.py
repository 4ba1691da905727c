"""Tests with whole matches that bots play."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from gameserver.client import ApiError, Bot, ConnectionLost, GameClient
from gameserver.client.play_socket import USER_AGENT
from gameserver.protocol import JSON, MSGPACK, Codec


@pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=lambda codec: codec.name)
async def test_bots_play_a_match_to_its_end(start: Any, new_match: Any, player: Any, codec: Codec) -> None:
    server = await start()
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=4.0)
    seats = [
        await player(f"player-{n}").join((spec.match_id, identity.url), name=f"P{n}", codec=codec) for n in range(3)
    ]
    reports = await asyncio.gather(*(Bot(seat).play() for seat in seats))
    results = [report.result for report in reports]
    assert results[0] == results[1] == results[2]
    assert {p["player_id"] for p in results[0]["players"]} == {"player-0", "player-1", "player-2"}
    assert {p["display_name"] for p in results[0]["players"]} == {"P0", "P1", "P2"}
    assert results[0]["reason"] == "time"
    assert sum(p["score"] for p in results[0]["players"]) > 0
    for report in reports:
        assert report.frames > 20
        assert report.latency_ms
        assert report.reconnects == 0


async def test_every_request_of_the_client_has_a_user_agent() -> None:
    # AWS WAF blocks a request without this header, also the handshake of a WebSocket.
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, GameClient(f"http://{address}", timeout_seconds=1.0) as client:
        with pytest.raises(ApiError):
            await client.leaderboard()
        with pytest.raises(ConnectionLost):
            await client.join(("match", f"ws://{address}"))
    agents = [re.findall(rb"(?im)^user-agent: (\S+)\r$", head) for head in heads]
    assert {(b"Upgrade: websocket" in head, *agent) for head, agent in zip(heads, agents, strict=True)} == {
        (False, USER_AGENT.encode()),
        (True, USER_AGENT.encode()),
    }


async def test_a_player_signs_up_and_plays_to_the_stored_result(whole_region: Any, eventually: Any) -> None:
    url = f"http://127.0.0.1:{whole_region.port}"
    async with GameClient(url) as ada, GameClient(url) as bob:

        async def ready() -> bool:
            try:
                await ada.leaderboard()
            except ApiError as error:
                return error.status not in (0, 503)
            return True

        await eventually(ready, 60)
        await ada.sign_up("ada@example.com", "Correct-horse-battery-1", "Ada")
        await bob.sign_up("bob@example.com", "Correct-horse-battery-2", "Bob")
        await ada.log_in("ada@example.com", "Correct-horse-battery-1")
        await bob.log_in("bob@example.com", "Correct-horse-battery-2")
        ticket = await ada.create_match("probe")
        assert (await bob.create_match("probe", join="open")).match_id == ticket.match_id
        seats = [await player.join(ticket) for player in (ada, bob)]
        first, second = await asyncio.gather(*(Bot(seat).play() for seat in seats))
        assert first.result == second.result

        async def stored() -> bool:
            return bool((await ada.match(ticket.match_id))["result"])

        await eventually(stored, 60)
        answer = await ada.match(ticket.match_id)
        assert answer["state"] == "ended"
        assert {p["player_id"]: p["score"] for p in answer["result"]["players"]} == {
            p["player_id"]: p["score"] for p in first.result["players"]
        }
        assert {p["display_name"] for p in first.result["players"]} == {"Ada", "Bob"}

        async def counted() -> bool:
            return int((await bob.profile())["matches"]) == 1

        await eventually(counted, 60)
