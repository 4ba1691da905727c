"""A player as a program: accounts and matches over HTTP, play over WebSocket. For health probes, load and tests.

    async with GameClient("http://127.0.0.1:8080") as client:
        await client.log_in("ada@example.com", "correct horse battery")
        ticket = await client.create_match("sprint", join="open")
        connection = await client.join(ticket)
        report = await Bot(connection).play()

Errors:
    ApiError        the API refused, or could not be reached (`status` 0)
    JoinRefused     the game server refused for good; `code` is one of `protocol.RefusalCode`
    ConnectionLost  no server took the player (back) in time
    PilotError      the pilot that the rules bring for bots has a fault
"""

from __future__ import annotations

from gameserver.client.api import ApiError, GameClient, MatchTicket
from gameserver.client.bot import Bot, MatchReport, PilotError
from gameserver.client.connection import ConnectionLost, JoinRefused, PlayerConnection

__all__ = [
    "ApiError",
    "Bot",
    "ConnectionLost",
    "GameClient",
    "JoinRefused",
    "MatchReport",
    "MatchTicket",
    "PilotError",
    "PlayerConnection",
]
