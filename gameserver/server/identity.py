"""The name, the addresses and the capacity of a game server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerIdentity:
    """Describes this server to the other servers of its region.

    Attributes:
        server_id: id of the server, unique in its region.
        zone: availability zone of the server.
        region: region of the server.
        url: WebSocket address for players.
        private_url: WebSocket address for the other servers.
        max_players: number of players that the server can serve.
        tick_rate_hz: ticks in a second of each match.
    """

    server_id: str
    zone: str
    region: str
    url: str
    private_url: str
    max_players: int
    tick_rate_hz: int
