"""Plays a match to its end with a bot. The pilot of the match's rules chooses the bot's inputs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gameserver.client.connection import Interruption, PlayerConnection, Update
from gameserver.client.pilots import pilot_of
from gameserver.protocol import Event, Frame


class PilotError(Exception):
    """Reports that the pilot of the rules raised an exception."""


@dataclass(frozen=True)
class MatchReport:
    """Holds what a bot measured and received in one match.

    Attributes:
        match_id: id of the match.
        result: the stored result, the payload of the event `match.ended`.
        latency_ms: milliseconds from an input to the first frame that acknowledges the input, for the newest 100,000
            inputs.
        frames: number of received frames.
        inputs: number of sent inputs.
        reconnects: how often the bot lost its connection and returned to its seat, on the same server or another.
        interruptions: one pause of the play for each reconnect.
        events: the received events, in the order of their sequence numbers. A server sends an event only after the
            event is stored.
    """

    match_id: str
    result: dict[str, Any]
    latency_ms: list[float]
    frames: int
    inputs: int
    reconnects: int
    interruptions: list[Interruption]
    events: list[Event]


class Bot:
    """Plays a match on `connection` and sends at most one input for each frame.

    If the rules have no pilot, the bot keeps its seat and sends no input.
    """

    def __init__(self, connection: PlayerConnection) -> None:
        self._connection = connection

    async def play(self) -> MatchReport:
        """Play until the match has ended.

        Raises:
            JoinRefused: a game server refused the player, and a retry cannot succeed.
            ConnectionLost: the connection was lost, and no game server gave the seat back within 20 s.
            PilotError: the pilot raised an exception.
        """
        connection = self._connection
        failed: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            pilot = pilot_of(connection.info.rules)(connection.info.slot)
            pilot.look(connection.state)
        except Exception as error:
            raise _pilot_error(connection, error) from error

        def on_update(update: Update) -> None:
            try:
                if not isinstance(update, Frame):
                    pilot.look(update.state)
                elif update.changes is not None:
                    pilot.learn(update.changes)
                action = pilot.decide()
            except Exception as error:
                connection.on_update = None
                failed.set_exception(_pilot_error(connection, error))
                return
            if action is not None:
                connection.send_input(action)

        connection.on_update = on_update
        ended: asyncio.Future[dict[str, Any]] = asyncio.ensure_future(connection.result())
        try:
            await asyncio.wait([ended, failed], return_when=asyncio.FIRST_COMPLETED)
            return _report(connection, (failed if failed.done() else ended).result())
        finally:
            connection.on_update = None
            ended.cancel()
            failed.cancel()


def _report(connection: PlayerConnection, result: dict[str, Any]) -> MatchReport:
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


def _pilot_error(connection: PlayerConnection, error: Exception) -> PilotError:
    return PilotError(f"the pilot of the rules {connection.info.rules!r} failed: {type(error).__name__}: {error}")
