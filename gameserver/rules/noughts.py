"""Noughts and crosses, the example of a game by turns.

The player at slot 0 begins. A player with three marks in a row wins and gets one point.

A tick does not change the board. `step` only returns the events of the moves since the last tick. Each accepted move is
an event `player.scored`, mostly with 0 points, whose payload also names the cell. The server stores an event before
clients receive it. A move whose event a client has received is never lost, not even when the server of the match dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from gameserver.rules import PLAYER_SCORED, RuleEvent

SEATS = 2
"""Number of players, and number of seats that a mode with the rules `noughts` must have."""

EMPTY = -1
"""The value of a cell without a mark, and of `Board.winner` before a player has won."""

_CELLS = 9
_ROWS = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class Place(Struct, array_like=True, frozen=True):
    """Puts the player's mark into a cell. `Place` is the only input of the game.

    Attributes:
        cell: number of the cell, 0 to 8, counted row by row from the top left.
    """

    cell: Annotated[int, Meta(ge=0, lt=_CELLS)]


class Board(Struct):
    """Holds the state of the game, which is also what clients see.

    Attributes:
        cells: the slot of the player whose mark is in the cell, or `EMPTY`, for each of the 9 cells.
        turn: slot of the player who has the next move.
        winner: slot of the winner, or `EMPTY`.
        present: slots of the players who have a seat.
    """

    cells: list[int]
    turn: int = 0
    winner: int = EMPTY
    present: list[int] = []


class _NoughtsState(Struct):
    board: Board
    moves: list[RuleEvent]


class NoughtsAndCrosses:
    """Implements `gameserver.rules.Rules` for noughts and crosses.

    Attributes:
        action_type: `Place`.

    Args:
        seed: not used, because nothing in the game is random.
        seats: must be 2.
        tick_rate_hz: not used, because nothing in the game depends on time.

    Raises:
        ValueError: `seats` is not 2.
    """

    action_type: ClassVar[Any] = Place

    def __init__(self, *, seed: int, seats: int, tick_rate_hz: int) -> None:  # noqa: ARG002 - the interface has them
        if seats != SEATS:
            raise ValueError(f"noughts and crosses has {SEATS} seats, not {seats}")
        self._board = Board([EMPTY] * _CELLS)
        self._moves: list[RuleEvent] = []
        self._changed = False

    def add_player(self, slot: int) -> None:
        """Add a player. The game accepts moves once both players are present."""
        self._board.present.append(slot)
        self._changed = True

    def remove_player(self, slot: int) -> None:
        """Remove a player. The marks of the player stay on the board."""
        self._board.present.remove(slot)
        self._changed = True

    def apply(self, slot: int, action: Place) -> None:
        """Put the player's mark into a cell, and keep the event of this move for the next `step`.

        A move is ignored if the game is decided, the other player has the turn, a player is missing or the cell has a
        mark.
        """
        board = self._board
        if self.finished() or slot != board.turn or len(board.present) < SEATS or board.cells[action.cell] != EMPTY:
            return
        self._place(slot, action.cell)
        won = int(board.winner == slot)
        self._moves.append(RuleEvent(PLAYER_SCORED, slot, {"score": won, "points": won, "cell": action.cell}))

    def step(self) -> list[RuleEvent]:
        """Return the events of the moves since the last call of `step`."""
        moves, self._moves = self._moves, []
        return moves

    def changes(self) -> Board | None:
        """Return the whole board, or None if the board has not changed since the last call of `changes`."""
        changed, self._changed = self._changed, False
        return self._board if changed else None

    def view(self) -> Board:
        """Return the board."""
        return self._board

    def scores(self) -> Mapping[int, int]:
        """Return the score of each player by slot: 1 for the winner, 0 for any other player."""
        return {slot: int(slot == self._board.winner) for slot in self._board.present}

    def finished(self) -> bool:
        """Return True once a player has won or every cell has a mark."""
        return self._board.winner != EMPTY or EMPTY not in self._board.cells

    def replay(self, event: RuleEvent) -> None:
        """Put the mark of a stored move into its cell."""
        if event.type == PLAYER_SCORED:
            self._place(event.slot, int(event.payload["cell"]))

    def dump(self) -> _NoughtsState:
        """Return the board, and the moves whose events no `step` has returned yet."""
        return _NoughtsState(self._board, self._moves)

    def load(self, state: Any) -> None:
        """Replace the board and the moves.

        Raises:
            ValueError, msgspec.ValidationError: `state` is not a state of this game.
        """
        loaded = msgspec.convert(state, _NoughtsState)
        if len(loaded.board.cells) != _CELLS:
            raise ValueError(f"a board has {_CELLS} cells, not {len(loaded.board.cells)}")
        self._board, self._moves, self._changed = loaded.board, loaded.moves, True

    def _place(self, slot: int, cell: int) -> None:
        board = self._board
        board.cells[cell] = slot
        board.turn = 1 - slot
        if any(all(board.cells[place] == slot for place in row) for row in _ROWS):
            board.winner = slot
        self._changed = True


class FirstFreeCell:
    """Implements `gameserver.rules.Pilot`: the bot puts its mark into the first free cell.

    Args:
        slot: the slot of the bot's seat.
    """

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._board = Board([EMPTY] * _CELLS)

    def look(self, view: Any) -> None:
        """Replace the known board by `view`."""
        self._board = msgspec.convert(view, Board)

    def learn(self, changes: Any) -> None:
        """Replace the known board by `changes`, which is always the whole board."""
        self.look(changes)

    def decide(self) -> Place | None:
        """Return the first free cell, or None while the bot cannot move."""
        board = self._board
        may_move = board.turn == self._slot and len(board.present) == SEATS
        return Place(board.cells.index(EMPTY)) if may_move and EMPTY in board.cells else None


rules = NoughtsAndCrosses
pilot = FirstFreeCell
