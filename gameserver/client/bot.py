"""A player that plays the bundled arena: runs to the most rewarding pick-up until time is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from gameserver.client.connection import Connection, Interruption, Update
from gameserver.protocol import Event, Frame
from gameserver.rules.arena import Changes, Move, PickUp, View


@dataclass(frozen=True)
class MatchReport:
    """What a bot saw. `latency_ms`: input to the first frame that shows it; `events`: acknowledged ones, in order."""

    match_id: str
    result: dict[str, Any]
    latency_ms: list[float]
    frames: int
    inputs: int
    reconnects: int
    interruptions: list[Interruption]
    events: list[Event]


class Bot:
    """Plays on `connection`, one input for each frame."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._places: dict[int, tuple[int, int]] = {}
        self._pick_ups: dict[int, PickUp] = {}
        self._target: PickUp | None = None

    async def play(self) -> MatchReport:
        """Play until the match has ended. Raises: JoinRefused, ConnectionLost."""
        connection = self._connection
        self._look(connection.state)
        connection.on_update = self._on_update
        try:
            result = await connection.result()
        finally:
            connection.on_update = None
        samples = connection.samples
        return MatchReport(
            match_id=connection.match_id,
            result=result,
            latency_ms=list(samples.latency_ms),
            frames=samples.frames,
            inputs=samples.inputs,
            reconnects=connection.reconnects,
            interruptions=samples.interruptions,
            events=[connection.events[sequence] for sequence in sorted(connection.events)],
        )

    def _on_update(self, update: Update) -> None:
        if not isinstance(update, Frame):
            self._look(update.state)
        elif update.changes is not None:
            self._apply(msgspec.convert(update.changes, Changes))
        self._connection.send_input(self._decide())

    def _look(self, state: Any) -> None:
        view = msgspec.convert(state, View, strict=False)
        self._places = {slot: (x, y) for slot, (x, y, _) in view.players.items()}
        self._pick_ups = {pick_up.id: pick_up for pick_up in view.pick_ups}
        self._target = None

    def _apply(self, changes: Changes) -> None:
        moved = changes.moved
        for index in range(0, len(moved), 3):
            self._places[moved[index]] = (moved[index + 1], moved[index + 2])
        for taken in changes.taken:
            self._pick_ups.pop(taken, None)
            if self._target is not None and self._target.id == taken:
                self._target = None
        for pick_up in changes.spawned:
            self._pick_ups[pick_up.id] = pick_up

    def _decide(self) -> Move:
        place = self._places.get(self._connection.info.slot)
        if place is None or not self._pick_ups:
            return Move(0.0, 0.0)
        x, y = place
        if self._target is None:
            # Points for the way: a rich one may be farther off.
            self._target = min(self._pick_ups.values(), key=lambda p: (abs(p.x - x) + abs(p.y - y)) / p.points)
        dx, dy = self._target.x - x, self._target.y - y
        longest = max(abs(dx), abs(dy))
        return Move(dx / longest, dy / longest) if longest > 1 else Move(0.0, 0.0)
