"""A region that takes no new matches: `mjctl failover` says so in Redis, the API tells its players where to go."""

from __future__ import annotations

from typing import Final

import msgspec

KEY: Final = "region:closed"
"""JSON of `Closure`; absent in a region that is open."""


class Alternative(msgspec.Struct, frozen=True):
    """Another region. `api`: base address of its HTTP API."""

    region: str
    api: str


class Closure(msgspec.Struct, frozen=True):
    """Since when the region is closed, and where its players find others, the best first."""

    since_ms: int
    elsewhere: tuple[Alternative, ...]


def encode(closure: Closure) -> bytes:
    return msgspec.json.encode(closure)


def decode(raw: bytes | str | None) -> Closure | None:
    """None for an open region. Raises: msgspec.MsgspecError."""
    return None if raw is None else msgspec.json.decode(raw, type=Closure)
