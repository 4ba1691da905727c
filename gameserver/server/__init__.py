"""The game server process: it serves players over WebSocket, ticks their matches and has an operations port."""

from __future__ import annotations

from gameserver.server.process import run

__all__ = ["run"]
