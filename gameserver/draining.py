"""Asking a game server to hand its matches over: operators say so in Redis, it sees that at its next heartbeat."""

from __future__ import annotations

from typing import Any, Final

_KEPT_SECONDS: Final = 24 * 3600
"""Longer than any server needs to obey; then nothing is left of a server that is gone."""


async def request(redis: Any, server_id: str) -> None:
    """Raises: redis.exceptions.RedisError."""
    await redis.set(_key(server_id), b"1", ex=_KEPT_SECONDS)


async def requested(redis: Any, server_id: str) -> bool:
    """Raises: redis.exceptions.RedisError."""
    return bool(await redis.exists(_key(server_id)))


def _key(server_id: str) -> str:
    return f"server-drain:{server_id}"
