"""The record of the game servers that ECS stops or will stop soon, which one server of the region writes for all."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_RECORD: Final = "server-departures"
_WATCHER: Final = "server-watcher"

_KEPT_SECONDS: Final = 10.0
"""Lifetime of the record. Without a newer record, no server counts as departing: an old record could name a server as
outdated after ECS has rolled a deployment back."""


class Departures(msgspec.Struct, frozen=True):
    """Names the servers that must not receive matches.

    Attributes:
        stopping: ids of the servers whose task ECS is stopping.
        outdated: ids of the servers that servers of the newest deployment replace.
    """

    stopping: frozenset[str] = frozenset()
    outdated: frozenset[str] = frozenset()


async def may_watch(redis: Any, server_id: str, seconds: float) -> bool:
    """Return whether this server asks ECS for all servers during the next `seconds`.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    return bool(await redis.set(_WATCHER, server_id, nx=True, px=round(seconds * 1000)))


async def write(redis: Any, departures: Departures) -> None:
    """Replace the record of the region.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    await redis.set(_RECORD, msgspec.json.encode(departures), px=round(_KEPT_SECONDS * 1000))


async def read(redis: Any) -> Departures:
    """Return the record of the region, or an empty record if no server has written one lately.

    Raises:
        redis.exceptions.RedisError: Redis does not answer.
    """
    raw = await redis.get(_RECORD)
    try:
        return Departures() if raw is None else msgspec.json.decode(raw, type=Departures)
    except msgspec.MsgspecError:
        # A later release may write another form of the record.
        return Departures()
