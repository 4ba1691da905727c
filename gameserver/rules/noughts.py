"""Noughts and crosses: the example of a game by turns. Slot 0 begins; three in a row are worth one point.

Nothing moves by itself here, so a tick only hands out what the last inputs did. Every accepted move is an event, a
`player.scored` of mostly 0 points that also tells the cell: once a client has seen it acknowledged, no server's death
takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from gameserver.rules import PLAYER_SCORED, RuleEvent

SEATS = 2
EMPTY = -1
_CELLS = 9
_ROWS = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class Place(Struct, array_like=True, frozen=True):
    """Put one's mark into a cell, counted row by row from the top left."""

    cell: Annotated[int, Meta(ge=0, lt=_CELLS)]


class Board(Struct):
    """State and view in one. `cells`: slot or `EMPTY`; `turn`: slot; `present`: slots with a player."""

    cells: list[int]
    turn: int = 0
    winner: int = EMPTY
    present: list[int] = []


class _NoughtsState(Struct):
    board: Board
    moves: list[RuleEvent]


class NoughtsAndCrosses:
    """See `gameserver.rules.Rules`. Raises (constructor): ValueError if the mode has not two seats."""

    action_type: ClassVar[Any] = Place

    def __init__(self, *, seed: int, seats: int, tick_rate_hz: int) -> None:  # noqa: ARG002 - no chance, no time
        if seats != SEATS:
            raise ValueError(f"noughts and crosses has {SEATS} seats, not {seats}")
        self._board = Board([EMPTY] * _CELLS)
        self._moves: list[RuleEvent] = []
        self._changed = False

    def add_player(self, slot: int) -> None:
        self._board.present.append(slot)
        self._changed = True

    def remove_player(self, slot: int) -> None:
        self._board.present.remove(slot)
        self._changed = True

    def apply(self, slot: int, action: Place) -> None:
        board = self._board
        if self.finished() or slot != board.turn or len(board.present) < SEATS or board.cells[action.cell] != EMPTY:
            return
        self._place(slot, action.cell)
        won = int(board.winner == slot)
        self._moves.append(RuleEvent(PLAYER_SCORED, slot, {"score": won, "points": won, "cell": action.cell}))

    def step(self) -> list[RuleEvent]:
        moves, self._moves = self._moves, []
        return moves

    def changes(self) -> Board | None:
        changed, self._changed = self._changed, False
        return self._board if changed else None

    def view(self) -> Board:
        return self._board

    def scores(self) -> Mapping[int, int]:
        return {slot: int(slot == self._board.winner) for slot in self._board.present}

    def finished(self) -> bool:
        return self._board.winner != EMPTY or EMPTY not in self._board.cells

    def replay(self, event: RuleEvent) -> None:
        if event.type == PLAYER_SCORED:
            self._place(event.slot, int(event.payload["cell"]))

    def dump(self) -> _NoughtsState:
        # A snapshot between two ticks may hold moves whose events are still to come.
        return _NoughtsState(self._board, self._moves)

    def load(self, state: Any) -> None:
        loaded = msgspec.convert(state, _NoughtsState)
        if len(loaded.board.cells) != _CELLS:
            raise ValueError("a board has nine cells")
        self._board, self._moves, self._changed = loaded.board, loaded.moves, True

    def _place(self, slot: int, cell: int) -> None:
        board = self._board
        board.cells[cell] = slot
        board.turn = 1 - slot
        if any(all(board.cells[place] == slot for place in row) for row in _ROWS):
            board.winner = slot
        self._changed = True


class FirstFreeCell:
    """Bots take turns from the top left; see `gameserver.rules.Pilot`."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._board = Board([EMPTY] * _CELLS)

    def look(self, view: Any) -> None:
        self._board = msgspec.convert(view, Board)

    def learn(self, changes: Any) -> None:
        self.look(changes)

    def decide(self) -> Place | None:
        board = self._board
        mine = board.turn == self._slot and len(board.present) == SEATS
        return Place(board.cells.index(EMPTY)) if mine and EMPTY in board.cells else None


rules = NoughtsAndCrosses
pilot = FirstFreeCell
