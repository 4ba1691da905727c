"""Whole matches, played by bots against one server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gameserver.client import Bot
from gameserver.protocol import JSON, MSGPACK, Codec


@pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=lambda codec: codec.name)
async def test_bots_play_a_match_to_its_end(start: Any, new_match: Any, player: Any, codec: Codec) -> None:
    server = await start()
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=2.0)
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
