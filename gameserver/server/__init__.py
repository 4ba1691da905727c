"""The real-time process: players over WebSocket, matches at the tick rate, an operations port."""

from __future__ import annotations

from gameserver.server.process import run

__all__ = ["run"]
