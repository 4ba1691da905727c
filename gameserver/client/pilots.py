"""Who decides what a bot does: the bundled arena's pilot, that of a studio's rules, or none."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gameserver.rules import Pilot, load_pilot
from gameserver.rules.arena import Changes, Move, PickUp, View


class ArenaPilot:
    """Runs to the most rewarding pick-up."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._places: dict[int, tuple[int, int]] = {}
        self._pick_ups: dict[int, PickUp] = {}
        self._target: PickUp | None = None

    def look(self, view: Any) -> None:
        seen = msgspec.convert(view, View, strict=False)
        self._places = {slot: (x, y) for slot, (x, y, _) in seen.players.items()}
        self._pick_ups = {pick_up.id: pick_up for pick_up in seen.pick_ups}
        self._target = None

    def learn(self, changes: Any) -> None:
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
        place = self._places.get(self._slot)
        if place is None or not self._pick_ups:
            return Move(0.0, 0.0)
        x, y = place
        if self._target is None:
            # Points for the way: a rich one may be farther off.
            self._target = min(self._pick_ups.values(), key=lambda p: (abs(p.x - x) + abs(p.y - y)) / p.points)
        dx, dy = self._target.x - x, self._target.y - y
        longest = max(abs(dx), abs(dy))
        return Move(dx / longest, dy / longest) if longest > 1 else Move(0.0, 0.0)


class Onlooker:
    """Keeps its seat and does nothing: for rules without a pilot."""

    def __init__(self, slot: int) -> None: ...

    def look(self, view: Any) -> None: ...

    def learn(self, changes: Any) -> None: ...

    def decide(self) -> None: ...


_BUNDLED: Final[dict[str, type[Pilot]]] = {"arena": ArenaPilot}


def pilot_of(rules: str) -> type[Pilot]:
    """The pilot for the rules of this name. Raises: whatever the studio's module raises when it is imported."""
    return _BUNDLED.get(rules) or load_pilot(rules) or Onlooker
