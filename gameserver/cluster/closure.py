"""A region that is closed to new matches. `mjctl failover` writes the closure of a region to the state store, and the
region's API sends players to other regions."""

from __future__ import annotations

from typing import Final

import msgspec

KEY: Final = "region:closed"
"""Redis key of the JSON of `Closure`. The key does not exist in an open region."""


class Alternative(msgspec.Struct, frozen=True):
    """Names a region that players can use instead of the closed region.

    Attributes:
        region: name of the region.
        api: base address of the region's HTTP API.
    """

    region: str
    api: str


class Closure(msgspec.Struct, frozen=True):
    """Describes the closure of a region.

    Attributes:
        since_ms: time of the closure, in milliseconds since 1970.
        elsewhere: the other regions that the API names to players, the best first.
    """

    since_ms: int
    elsewhere: tuple[Alternative, ...]


def encode(closure: Closure) -> bytes:
    """Return the value of the Redis key `KEY` for a closure."""
    return msgspec.json.encode(closure)


def decode(raw: bytes | str | None) -> Closure | None:
    """Return the closure that the value of the Redis key `KEY` describes, or None if the key has no value (open
    region).

    Raises:
        msgspec.MsgspecError: the value is not the JSON of a `Closure`.
    """
    return None if raw is None else msgspec.json.decode(raw, type=Closure)
