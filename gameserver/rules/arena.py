"""The arena, the example of a game in real time.

Players run over a square field and collect pick-ups, which are worth points. The player with the most points at the end
of the match wins.

All lengths are in units of the field, which is `FIELD` units wide and high. The server computes positions as floats,
and clients receive positions in whole units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta, Struct

from gameserver.rules import PLAYER_SCORED, RuleEvent

FIELD = 1000
"""Width and height of the field, in units."""

SPEED_PER_SECOND = 260.0
"""Highest speed of a player, in units per second."""

REACH = 26
"""Largest distance at which a player collects a pick-up, in units between the two centres."""

RICH_CHANCE = 8
"""On average one pick-up out of `RICH_CHANCE` is worth `RICH_POINTS` points. Every other pick-up is worth 1 point."""

RICH_POINTS = 5
"""Points of a rich pick-up."""

# `step` looks for pick-ups near a player in a grid of square cells. `_CELL` is the width of a cell in units, and
# `_CELLS` is the number of cells in a row of the grid.
_CELL = 2 * REACH
_CELLS = FIELD // _CELL + 2
# Smallest distance between a new player or pick-up and the border of the field, in units.
_MARGIN = 20
# Value of `shown_x` and `shown_y` before the first tick of a player.
_NOWHERE = -1

Axis = Annotated[float, Meta(ge=-1.0, le=1.0)]
"""One component of a direction, -1 to 1."""


class Move(Struct, array_like=True, frozen=True, gc=False):
    """Sets the direction in which a player runs until the player's next input. `Move` is the only input of the arena.

    The direction (0, 0) stops the player. A vector of length 1 means full speed. A longer vector counts as a vector of
    length 1.

    Attributes:
        x: component to the right, -1 to 1.
        y: component downwards, -1 to 1.
    """

    x: Axis
    y: Axis


class ArenaRunner:
    """Holds the state of a player in the field.

    `ArenaRunner` is a plain class, because every tick assigns to its attributes. An assignment to an attribute of a
    msgspec struct takes several times as long.

    Attributes:
        x: exact horizontal position in units, 0 at the left border.
        y: exact vertical position in units, 0 at the upper border.
        heading_x: horizontal speed in units per tick.
        heading_y: vertical speed in units per tick.
        score: the player's points.
        shown_x: horizontal position that clients know, in whole units, or -1 before the first tick.
        shown_y: vertical position that clients know, in whole units, or -1 before the first tick.
    """

    __slots__ = ("heading_x", "heading_y", "score", "shown_x", "shown_y", "x", "y")

    def __init__(self, x: float, y: float, heading_x: float = 0.0, heading_y: float = 0.0, score: int = 0) -> None:
        self.x, self.y = x, y
        self.heading_x, self.heading_y = heading_x, heading_y
        self.score = score
        self.shown_x = self.shown_y = _NOWHERE


class StoredRunner(NamedTuple):
    """Holds the part of an `ArenaRunner` that a snapshot stores.

    Attributes:
        x: exact horizontal position in units.
        y: exact vertical position in units.
        heading_x: horizontal speed in units per tick.
        heading_y: vertical speed in units per tick.
        score: the player's points.
    """

    x: float
    y: float
    heading_x: float
    heading_y: float
    score: int


class PickUp(Struct, array_like=True, frozen=True, gc=False):
    """Describes a pick-up in the field.

    Attributes:
        id: number of the pick-up, counted from 0. A match never gives the number of a pick-up to another pick-up.
        x: horizontal position in units.
        y: vertical position in units.
        points: value of the pick-up, 1 or `RICH_POINTS`.
    """

    id: int
    x: int
    y: int
    points: int


class Changes(Struct, array_like=True):
    """Holds what changed in the field since the last frame. Flat lists keep the frames small.

    Attributes:
        moved: slot, x and y of each player whose position changed: `[slot, x, y, slot, x, y, ...]`, in whole units.
        taken: ids of the pick-ups that a player collected.
        spawned: new pick-ups.
        scores: slot and score of each player whose score changed: `[slot, score, slot, score, ...]`.
        left: slots of the players who left the match.
    """

    moved: list[int]
    taken: list[int] = []
    spawned: list[PickUp] = []
    scores: list[int] = []
    left: list[int] = []


class View(Struct):
    """Holds everything that a client needs to draw the field.

    Attributes:
        field: width and height of the field, in units.
        players: slot -> (x, y, score) of each player, with x and y in whole units.
        pick_ups: all pick-ups in the field.
    """

    field: int
    players: dict[int, tuple[int, int, int]]
    pick_ups: list[PickUp]


class _ArenaState(Struct):
    random: int
    next_pick_up: int
    runners: dict[int, StoredRunner]
    pick_ups: list[PickUp]


class Arena:
    """Implements `gameserver.rules.Rules` for the arena.

    Attributes:
        action_type: `Move`.

    Args:
        seed: 0 to 2^64 - 1. The seed decides all positions and the points of all pick-ups.
        seats: number of players that the mode allows. The field has 1.5 pick-ups for each seat, and at least 6.
        tick_rate_hz: ticks in one second.
    """

    action_type: ClassVar[Any] = Move

    def __init__(self, *, seed: int, seats: int, tick_rate_hz: int) -> None:
        self._random = (seed ^ 0x9E3779B97F4A7C15) & (2**64 - 1)
        self._stride = SPEED_PER_SECOND / tick_rate_hz
        self._wanted = max(6, seats + seats // 2)
        self._runners: dict[int, ArenaRunner] = {}
        self._pick_ups: dict[int, PickUp] = {}
        self._cells: dict[int, list[PickUp]] = {}
        self._next_pick_up = 0
        self._changes = Changes([])
        self._fill()

    def add_player(self, slot: int) -> None:
        """Add a player at a random position."""
        runner = ArenaRunner(float(self._coordinate()), float(self._coordinate()))
        self._runners[slot] = runner
        self._changes.scores += (slot, 0)

    def remove_player(self, slot: int) -> None:
        """Remove a player from the field."""
        if self._runners.pop(slot, None) is not None:
            self._changes.left.append(slot)

    def apply(self, slot: int, action: Move) -> None:
        """Set the direction and the speed of a player. An input for a slot without a player is ignored."""
        runner = self._runners.get(slot)
        if runner is None:
            return
        x, y, stride = action.x, action.y, self._stride
        square = x * x + y * y
        if square > 1.0:
            stride /= math.sqrt(square)
        runner.heading_x, runner.heading_y = x * stride, y * stride

    def step(self) -> list[RuleEvent]:
        """Move each player by one tick, and let players collect the pick-ups in their reach.

        Returns:
            One event `player.scored` for each collected pick-up, with the id of the pick-up in the payload.
        """
        events: list[RuleEvent] = []
        moved, cells, edge = self._changes.moved, self._cells, float(FIELD)
        for slot, runner in self._runners.items():
            x, y = runner.x + runner.heading_x, runner.y + runner.heading_y
            # Keep the player's position in the field by comparisons, because calls of `min` and `max` would take half
            # of the time of the loop over all players.
            runner.x = x = 0.0 if x < 0.0 else edge if x > edge else x
            runner.y = y = 0.0 if y < 0.0 else edge if y > edge else y
            place_x, place_y = int(x), int(y)
            if place_x != runner.shown_x or place_y != runner.shown_y:
                runner.shown_x, runner.shown_y = place_x, place_y
                moved += (slot, place_x, place_y)
            near = cells.get(place_x // _CELL * _CELLS + place_y // _CELL)
            if near:
                self._collect(slot, runner, near, events)
        if events:
            self._fill()
        return events

    def changes(self) -> Changes | None:
        """Return the changes since the last call of `changes`, or None if nothing changed."""
        changes = self._changes
        if not (changes.moved or changes.taken or changes.spawned or changes.scores or changes.left):
            return None
        self._changes = Changes([])
        return changes

    def view(self) -> View:
        """Return all players and all pick-ups."""
        players = {slot: (int(r.x), int(r.y), r.score) for slot, r in self._runners.items()}
        return View(FIELD, players, list(self._pick_ups.values()))

    def scores(self) -> Mapping[int, int]:
        """Return the points of each player, by slot."""
        return {slot: runner.score for slot, runner in self._runners.items()}

    def finished(self) -> bool:
        """Return False, because a match in the arena always lasts until its time is over."""
        return False

    def replay(self, event: RuleEvent) -> None:
        """Restore the score of a stored event, and remove the pick-up that its player collected."""
        if event.type != PLAYER_SCORED:
            return
        runner = self._runners.get(event.slot)
        if runner is not None:
            runner.score = int(event.payload["score"])
        pick_up_id = int(event.payload["pick_up"])
        taken = self._pick_ups.get(pick_up_id)
        if taken is not None:
            self._remove(taken)
        # Clients already know the id of the collected pick-up, so no new pick-up may get this id.
        self._next_pick_up = max(self._next_pick_up, pick_up_id + 1)
        self._fill()

    def dump(self) -> _ArenaState:
        """Return the complete state, including the state of the random number generator."""
        runners = {slot: StoredRunner(r.x, r.y, r.heading_x, r.heading_y, r.score) for slot, r in self._runners.items()}
        return _ArenaState(self._random, self._next_pick_up, runners, list(self._pick_ups.values()))

    def load(self, state: Any) -> None:
        """Replace the complete state of the game.

        Raises:
            msgspec.ValidationError: `state` is not a state of this game.
        """
        loaded = msgspec.convert(state, _ArenaState)
        self._random, self._next_pick_up = loaded.random, loaded.next_pick_up
        self._runners = {slot: ArenaRunner(*stored) for slot, stored in loaded.runners.items()}
        self._pick_ups, self._cells, self._changes = {}, {}, Changes([])
        for pick_up in loaded.pick_ups:
            self._place(pick_up)

    def _collect(self, slot: int, runner: ArenaRunner, near: list[PickUp], events: list[RuleEvent]) -> None:
        for pick_up in tuple(near):
            if (pick_up.x - runner.x) ** 2 + (pick_up.y - runner.y) ** 2 > REACH * REACH:
                continue
            self._remove(pick_up)
            runner.score += pick_up.points
            self._changes.taken.append(pick_up.id)
            self._changes.scores += (slot, runner.score)
            payload = {"score": runner.score, "points": pick_up.points, "pick_up": pick_up.id}
            events.append(RuleEvent(PLAYER_SCORED, slot, payload))

    def _fill(self) -> None:
        while len(self._pick_ups) < self._wanted:
            points = RICH_POINTS if self._draw() % RICH_CHANCE == 0 else 1
            pick_up = PickUp(self._next_pick_up, self._coordinate(), self._coordinate(), points)
            self._next_pick_up += 1
            self._place(pick_up)
            self._changes.spawned.append(pick_up)

    def _place(self, pick_up: PickUp) -> None:
        self._pick_ups[pick_up.id] = pick_up
        for cell in _cells_around(pick_up):
            self._cells.setdefault(cell, []).append(pick_up)

    def _remove(self, pick_up: PickUp) -> None:
        del self._pick_ups[pick_up.id]
        for cell in _cells_around(pick_up):
            self._cells[cell].remove(pick_up)

    def _coordinate(self) -> int:
        return _MARGIN + self._draw() % (FIELD - 2 * _MARGIN)

    def _draw(self) -> int:
        """Return the next random number, 0 to 2^31 - 1, of an xorshift64* generator (Vigna 2016).

        The state of this generator is one integer, so a snapshot can contain it.
        """
        x = self._random or 1
        x ^= x >> 12
        x ^= (x << 25) & (2**64 - 1)
        x ^= x >> 27
        self._random = x
        return (x * 0x2545F4914F6CDD1D & (2**64 - 1)) >> 33


def _cells_around(pick_up: PickUp) -> set[int]:
    """Return the cells from which a player can reach `pick_up`.

    A pick-up is within reach of at most four cells, because a cell is `2 * REACH` wide.
    """
    return {
        (pick_up.x + dx) // _CELL * _CELLS + (pick_up.y + dy) // _CELL
        for dx in (-REACH, REACH)
        for dy in (-REACH, REACH)
    }


rules = Arena
