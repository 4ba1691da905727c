"""The turn-based example, played with the client through a server's death."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import msgspec

from gameserver.client import Connection
from gameserver.protocol import Frame
from gameserver.rules.noughts import EMPTY, Board, Place


async def _until(seat: Connection, marks: int) -> Board:
    """The board as `seat` sees it, once it shows so many marks."""
    async for update in seat.updates():
        seen = update.changes if isinstance(update, Frame) else update.state
        if seen is None:
            continue
        board = msgspec.convert(seen, Board)
        if 9 - board.cells.count(EMPTY) >= marks and len(board.present) == 2:
            return board
    raise AssertionError("the match ended first")


async def _move(seats: list[Connection], number: int, cell: int) -> None:
    """One move, sent again until both players see it: an input to a dying server is lost."""
    for _ in range(100):
        seats[number % 2].send_input(Place(cell))
        try:
            async with asyncio.timeout(0.5):
                await asyncio.gather(*(_until(seat, number + 1) for seat in seats))
        except TimeoutError:
            continue
        return
    raise AssertionError(f"move {number} was never seen")


async def test_a_game_by_turns_outlives_its_server(spawn: Any, new_match: Any, player: Any) -> None:
    owner, other = await spawn(), await spawn()
    spec = await new_match(owner.settings.server_id, seconds=60.0, seats=2, rules="noughts")
    url = f"ws://127.0.0.1:{owner.settings.port}"
    seats = [await player(name).join((spec.match_id, url)) for name in ("ada", "bob")]
    for number, cell in enumerate([0, 3, 1]):
        await _move(seats, number, cell)
    # Two heartbeats: by then the owner has told its clients where to go without it, as there is no API to ask here.
    await asyncio.sleep(1.2)
    owner.signal(signal.SIGKILL)
    await _move(seats, 3, 4)
    seats[0].send_input(Place(2))
    result = await seats[0].result()
    assert result["reason"] == "finished"
    assert [(p["player_id"], p["score"], p["rank"]) for p in result["players"]] == [("ada", 1, 1), ("bob", 0, 2)]
    assert seats[0].info.server_id == other.settings.server_id
