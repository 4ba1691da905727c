"""The bundled game: run over a square field, pick up what lies there, have the most points when time is up.

Lengths are in units of the field (`FIELD` wide and high); positions go over the wire as whole units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta, Struct

from gameserver.rules import PLAYER_SCORED, RuleEvent

FIELD = 1000
SPEED_PER_SECOND = 260.0
REACH = 26
"""A pick-up is taken by a player whose centre comes this near."""

RICH_CHANCE = 8
"""One pick-up in so many is worth `RICH_POINTS`."""

RICH_POINTS = 5
_CELL = 2 * REACH
_CELLS = FIELD // _CELL + 2
_MARGIN = 20
_NOWHERE = -1

Axis = Annotated[float, Meta(ge=-1.0, le=1.0)]


class Move(Struct, array_like=True, frozen=True, gc=False):
    """The direction to run in; longer than 1 is cut to 1, (0, 0) stands still."""

    x: Axis
    y: Axis


class ArenaRunner:
    """A player in the field: `x`, `y` exactly, `shown_x`, `shown_y` as clients know it; heading in units a tick.

    A plain class: it is written to on every tick, and a struct's checked assignment costs several times as much.
    """

    __slots__ = ("heading_x", "heading_y", "score", "shown_x", "shown_y", "x", "y")

    def __init__(self, x: float, y: float, heading_x: float = 0.0, heading_y: float = 0.0, score: int = 0) -> None:
        self.x, self.y = x, y
        self.heading_x, self.heading_y = heading_x, heading_y
        self.score = score
        self.shown_x = self.shown_y = _NOWHERE


class StoredRunner(NamedTuple):
    """The fields of an `ArenaRunner` that a snapshot stores."""

    x: float
    y: float
    heading_x: float
    heading_y: float
    score: int


class PickUp(Struct, array_like=True, frozen=True, gc=False):
    id: int
    x: int
    y: int
    points: int


class Changes(Struct, array_like=True):
    """`moved`: slot, x, y, ... flat; `taken`: ids; `scores`: slot, score, ... flat; `left`: slots."""

    moved: list[int]
    taken: list[int] = []
    spawned: list[PickUp] = []
    scores: list[int] = []
    left: list[int] = []


class View(Struct):
    field: int
    players: dict[int, tuple[int, int, int]]
    """slot -> (x, y, score)"""
    pick_ups: list[PickUp]


class _ArenaState(Struct):
    random: int
    next_pick_up: int
    runners: dict[int, StoredRunner]
    pick_ups: list[PickUp]


class Arena:
    """See `gameserver.rules.Rules`."""

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
        runner = ArenaRunner(float(self._coordinate()), float(self._coordinate()))
        self._runners[slot] = runner
        self._changes.scores += (slot, 0)

    def remove_player(self, slot: int) -> None:
        if self._runners.pop(slot, None) is not None:
            self._changes.left.append(slot)

    def apply(self, slot: int, action: Move) -> None:
        runner = self._runners.get(slot)
        if runner is None:
            return
        x, y, stride = action.x, action.y, self._stride
        square = x * x + y * y
        if square > 1.0:
            stride /= math.sqrt(square)
        runner.heading_x, runner.heading_y = x * stride, y * stride

    def step(self) -> list[RuleEvent]:
        events: list[RuleEvent] = []
        moved, cells, edge = self._changes.moved, self._cells, float(FIELD)
        for slot, runner in self._runners.items():
            x, y = runner.x + runner.heading_x, runner.y + runner.heading_y
            # Comparisons, not min and max, whose calls would take half of the time of this loop.
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
        changes = self._changes
        if not (changes.moved or changes.taken or changes.spawned or changes.scores or changes.left):
            return None
        self._changes = Changes([])
        return changes

    def view(self) -> View:
        players = {slot: (int(r.x), int(r.y), r.score) for slot, r in self._runners.items()}
        return View(FIELD, players, list(self._pick_ups.values()))

    def scores(self) -> Mapping[int, int]:
        return {slot: runner.score for slot, runner in self._runners.items()}

    def finished(self) -> bool:
        return False

    def replay(self, event: RuleEvent) -> None:
        if event.type != PLAYER_SCORED:
            return
        runner = self._runners.get(event.slot)
        if runner is not None:
            runner.score = int(event.payload["score"])
        pick_up_id = int(event.payload["pick_up"])
        taken = self._pick_ups.get(pick_up_id)
        if taken is not None:
            self._remove(taken)
        # Ids already handed out must not come back with another meaning.
        self._next_pick_up = max(self._next_pick_up, pick_up_id + 1)
        self._fill()

    def dump(self) -> _ArenaState:
        runners = {slot: StoredRunner(r.x, r.y, r.heading_x, r.heading_y, r.score) for slot, r in self._runners.items()}
        return _ArenaState(self._random, self._next_pick_up, runners, list(self._pick_ups.values()))

    def load(self, state: Any) -> None:
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
        """The next number of an xorshift64* generator (Vigna 2016); its whole state is one integer in the snapshot."""
        x = self._random or 1
        x ^= x >> 12
        x ^= (x << 25) & (2**64 - 1)
        x ^= x >> 27
        self._random = x
        return (x * 0x2545F4914F6CDD1D & (2**64 - 1)) >> 33


def _cells_around(pick_up: PickUp) -> set[int]:
    """Every cell from which a player could reach `pick_up`: at most four, as a cell is twice the reach wide."""
    return {
        (pick_up.x + dx) // _CELL * _CELLS + (pick_up.y + dy) // _CELL
        for dx in (-REACH, REACH)
        for dy in (-REACH, REACH)
    }


rules = Arena
