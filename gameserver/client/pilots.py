"""Chooses the pilot of a bot: the arena's pilot, the pilot of another rules module, or `Onlooker`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gameserver.rules import Pilot, load_pilot
from gameserver.rules.arena import Changes, Move, PickUp, View


class ArenaPilot:
    """Implements `gameserver.rules.Pilot` for the arena.

    The bot runs to the pick-up that has the most points for its distance.

    Args:
        slot: the slot of the bot's seat.
    """

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._places: dict[int, tuple[int, int]] = {}
        self._pick_ups: dict[int, PickUp] = {}
        self._target: PickUp | None = None

    def look(self, view: Any) -> None:
        """Replace all known positions and pick-ups."""
        seen = msgspec.convert(view, View, strict=False)
        self._places = {slot: (x, y) for slot, (x, y, _) in seen.players.items()}
        self._pick_ups = {pick_up.id: pick_up for pick_up in seen.pick_ups}
        self._target = None

    def learn(self, changes: Any) -> None:
        """Update the positions and pick-ups that changed."""
        seen = msgspec.convert(changes, Changes)
        moved = seen.moved
        for index in range(0, len(moved), 3):
            self._places[moved[index]] = (moved[index + 1], moved[index + 2])
        for taken in seen.taken:
            self._pick_ups.pop(taken, None)
            if self._target is not None and self._target.id == taken:
                self._target = None
        for pick_up in seen.spawned:
            self._pick_ups[pick_up.id] = pick_up

    def decide(self) -> Move:
        """Return the direction to the chosen pick-up.

        Choose another pick-up if a player has collected the chosen pick-up.
        """
        place = self._places.get(self._slot)
        if place is None or not self._pick_ups:
            return Move(0.0, 0.0)
        x, y = place
        if self._target is None:
            # Choose the pick-up with the shortest way per point. A pick-up of 5 points is chosen over a
            # pick-up of 1 point that is only a quarter as far away.
            self._target = min(self._pick_ups.values(), key=lambda p: (abs(p.x - x) + abs(p.y - y)) / p.points)
        dx, dy = self._target.x - x, self._target.y - y
        longest = max(abs(dx), abs(dy))
        return Move(dx / longest, dy / longest) if longest > 1 else Move(0.0, 0.0)


class Onlooker:
    """Implements `gameserver.rules.Pilot` for rules without a pilot: the bot keeps its seat and sends no input."""

    def __init__(self, slot: int) -> None: ...

    def look(self, view: Any) -> None:
        """Ignore the view."""

    def learn(self, changes: Any) -> None:
        """Ignore the changes."""

    def decide(self) -> None:
        """Return None, which means no input."""


_BUNDLED: Final[dict[str, type[Pilot]]] = {"arena": ArenaPilot}


def pilot_of(rules: str) -> type[Pilot]:
    """Return the class of the pilot for the rules module `rules`.

    Raises:
        Exception: a studio's module may raise any exception while Python imports it.
    """
    return _BUNDLED.get(rules) or load_pilot(rules) or Onlooker
