"""What the log says of players: who came, came back and went, by ids; no name, no address, nothing they typed."""

from __future__ import annotations

import structlog

from gameserver.server.connection import Connection

log = structlog.get_logger()


def player_came(connection: Connection, *, back: bool) -> None:
    """A connection has been given a seat; `back`: its own of before."""
    _tell("player_resumed" if back else "player_joined", connection)


def player_went(connection: Connection) -> None:
    """A connection is closed. Those that end with their match, or move with it, are told by the match's own lines."""
    room = connection.room
    if room is not None and not (room.closing or room.match.ended):
        _tell("player_disconnected", connection)


def _tell(event: str, connection: Connection) -> None:
    if connection.room is not None and connection.seat is not None:
        seat = connection.seat
        log.info(event, match_id=connection.room.match_id, player_id=seat.player_id, slot=seat.slot, left=seat.left)
