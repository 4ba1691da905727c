"""A client of the game as a library, for health probes, load tests and tests.

`GameClient` speaks HTTP to the API: accounts, profiles and matches. `PlayerConnection` plays one match over a
WebSocket. `Bot` plays a match to its end.

    async with GameClient("http://127.0.0.1:8080") as client:
        await client.log_in("ada@example.com", "correct horse battery")
        ticket = await client.create_match("sprint", join="open")
        connection = await client.join(ticket)
        report = await Bot(connection).play()

The client raises these errors:

* `ApiError`: the API refused the request, or did not answer (`status` 0).
* `JoinRefused`: a game server refused the player, and a retry cannot succeed. `code` is a value of `RefusalCode`.
* `ConnectionLost`: no game server gave the player a seat within the time limit.
* `PilotError`: the pilot of the rules raised an exception.
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
