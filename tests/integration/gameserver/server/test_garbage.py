"""Tests that full garbage collections can wait for hours, because players and matches leave no reference cycles."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

from gameserver.server import garbage


async def test_departed_players_and_ended_matches_are_freed_at_once(
    start: Any, new_match: Any, player: Any, eventually: Any
) -> None:
    server = await start()

    async def play(name: str) -> None:
        spec = await new_match(server.host.identity.server_id, seconds=0.3)
        seat = await player(name).join((spec.match_id, server.host.identity.url))
        await seat.result()
        await seat.close()

    async def left() -> bool:
        return not server.host.rooms and not server.host.connections

    await play("ada")
    await eventually(left)
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(play(f"player-{number}") for number in range(10)))
        await eventually(left)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = ("gameserver.server", "gameserver.match", "gameserver.rules", "picows", "aiofastnet")
        cycles = Counter(type(item).__qualname__ for item in gc.garbage if type(item).__module__.startswith(ours))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()
    assert not cycles


async def test_a_full_collection_waits_until_no_player_is_connected(monkeypatch: Any) -> None:
    monkeypatch.setattr(garbage, "_ROUND_SECONDS", 0.01)
    looked: list[int] = []
    monkeypatch.setattr(garbage.gc, "collect", lambda: looked.append(1) or 0)
    idle = False
    task = asyncio.create_task(garbage.collect(lambda: idle))
    await asyncio.sleep(0.1)
    assert looked == []
    idle = True
    async with asyncio.timeout(10):
        while not looked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    monkeypatch.setattr(garbage, "_PATIENCE_SECONDS", 0.0)
    idle = False
    looked.clear()
    async with asyncio.timeout(10):
        while not looked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
