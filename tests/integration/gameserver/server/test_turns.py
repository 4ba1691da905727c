"""Tests of the turn-based example game, which continues after its server is killed."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import msgspec

from gameserver.client import PlayerConnection
from gameserver.protocol import Frame
from gameserver.rules.noughts import EMPTY, Board, Place


class Table:
    """Plays both seats of a game, and follows the board at each seat, also while a server is killed."""

    def __init__(self, seats: list[PlayerConnection]) -> None:
        self.seats = seats
        self._boards: dict[int, Board] = {}
        self._watching = [asyncio.create_task(self._watch(number, seat)) for number, seat in enumerate(seats)]

    async def _watch(self, number: int, seat: PlayerConnection) -> None:
        async for update in seat.updates():
            seen = update.changes if isinstance(update, Frame) else update.state
            if seen is not None:
                self._boards[number] = msgspec.convert(seen, Board)

    def _shows(self, number: int, marks: int) -> bool:
        board = self._boards.get(number)
        return board is not None and 9 - board.cells.count(EMPTY) >= marks and len(board.present) == 2

    async def move(self, number: int, cell: int) -> None:
        """Send a move until both players see it, because a server that is killed loses its last inputs."""
        async with asyncio.timeout(50):
            while not all(self._shows(seat, number + 1) for seat in range(2)):
                self.seats[number % 2].send_input(Place(cell))
                await asyncio.sleep(0.1)

    async def closed(self) -> None:
        """Stop following the board. Raises the error of a seat, if a seat has failed."""
        await asyncio.gather(*self._watching)


async def test_a_turn_based_game_survives_its_server(spawn: Any, new_match: Any, player: Any, eventually: Any) -> None:
    owner, other = await spawn(), await spawn()
    spec = await new_match(owner.settings.server_id, seconds=60.0, seats=2, rules="noughts")
    url = f"ws://127.0.0.1:{owner.settings.port}"
    seats = [await player(name).join((spec.match_id, url)) for name in ("ada", "bob")]
    table = Table(seats)
    for number, cell in enumerate([0, 3, 1]):
        await table.move(number, cell)

    async def know_the_way() -> bool:
        # The clients learn the other server's address from the match's owner, because the test has no API.
        return all(seat._alternates for seat in seats)

    await eventually(know_the_way)
    owner.signal(signal.SIGKILL)
    await table.move(3, 4)
    seats[0].send_input(Place(2))
    result = await seats[0].result()
    await table.closed()
    assert result["reason"] == "finished"
    assert [(p["player_id"], p["score"], p["rank"]) for p in result["players"]] == [("ada", 1, 1), ("bob", 0, 2)]
    assert seats[0].info.server_id == other.settings.server_id
