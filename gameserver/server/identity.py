"""Who a game server is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerIdentity:
    """What this server is called, and what it can carry."""

    server_id: str
    zone: str
    region: str
    url: str
    private_url: str
    max_players: int
    tick_rate_hz: int
