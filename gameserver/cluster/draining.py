"""Requests by operators to drain a game server. A request is a key in Redis, which the server reads regularly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

_KEPT_SECONDS: Final = 24 * 3600
"""Lifetime of a request to drain, which is longer than any server needs to drain. A request to a server that no longer
exists disappears after this lifetime."""


async def request(redis: Any, server_id: str, *, by: str = "", message: str | None = None) -> None:
    """Ask a server to drain, and record the request's author, time and reason.

    Args:
        redis: a client of the region's Redis.
        server_id: id of the server.
        by: the operator who asks.
        message: the operator's reason.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    record = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds"), "message": message}
    await redis.set(_key(server_id), json.dumps(record), ex=_KEPT_SECONDS)


async def requested(redis: Any, server_id: str) -> bool:
    """Return whether an operator has asked the server to drain.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    return bool(await redis.exists(_key(server_id)))


async def requests(redis: Any, server_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the drain request of each server that has one: server id -> `{by, at, message}`.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    records = {}
    for server_id in server_ids:
        try:
            record = json.loads(await redis.get(_key(server_id)) or b"null")
        except ValueError:
            continue
        # An earlier release wrote each request to drain as `1`, without a record of its author, time and reason.
        if isinstance(record, dict):
            records[server_id] = record
    return records


def _key(server_id: str) -> str:
    return f"server-drain:{server_id}"
