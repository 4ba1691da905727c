"""Log lines about players who join, return and disconnect.

The lines contain ids only: no name, no network address and no text that a player typed.
"""

from __future__ import annotations

import structlog

from gameserver.server.connection import Connection

log = structlog.get_logger()


def player_came(connection: Connection, *, back: bool) -> None:
    """Log that a player has a seat. `back` is True if the player returned to an earlier seat."""
    _log("player_resumed" if back else "player_joined", connection)


def player_went(connection: Connection) -> None:
    """Log that a player's connection has closed.

    Nothing is logged if the match has ended or moves to another server, because the log lines of the match show its end
    or move.
    """
    room = connection.room
    if room is not None and not (room.closing or room.match.ended):
        _log("player_disconnected", connection)


def _log(event: str, connection: Connection) -> None:
    if connection.room is not None and connection.seat is not None:
        seat = connection.seat
        log.info(event, match_id=connection.room.match_id, player_id=seat.player_id, slot=seat.slot, left=seat.left)
