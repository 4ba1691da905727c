"""What the cache asks of its Redis client."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol


class RedisClient(Protocol):
    """The part of `redis.asyncio.Redis` that is used; redis-py leaves most of it untyped."""

    def execute_command(self, *args: Any) -> Awaitable[Any]: ...

    def get_encoder(self) -> Any: ...

    def pipeline(self, transaction: bool) -> Any: ...

    def register_script(self, script: str) -> Any: ...
