"""Asking a game server to hand its matches over: operators say so in Redis, it sees that at its next heartbeat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

_KEPT_SECONDS: Final = 24 * 3600
"""Longer than any server needs to obey; then nothing is left of a server that is gone."""


async def request(redis: Any, server_id: str, *, by: str = "", message: str | None = None) -> None:
    """Ask a server to hand its matches over, and keep who asked, when and why.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    record = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds"), "message": message}
    await redis.set(_key(server_id), json.dumps(record), ex=_KEPT_SECONDS)


async def requested(redis: Any, server_id: str) -> bool:
    """Raises: redis.exceptions.RedisError."""
    return bool(await redis.exists(_key(server_id)))


async def requests(redis: Any, server_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return who asked each server to drain: `{by, at, message}` by server id.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    found = {}
    for server_id in server_ids:
        try:
            record = json.loads(await redis.get(_key(server_id)) or b"null")
        except ValueError:
            continue
        # An earlier release wrote `1`, without a record.
        if isinstance(record, dict):
            found[server_id] = record
    return found


def _key(server_id: str) -> str:
    return f"server-drain:{server_id}"
