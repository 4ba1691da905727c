"""The interface of the Redis client that the cache uses."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol


class RedisClient(Protocol):
    """Describes the methods of `redis.asyncio.Redis` that the cache calls, because redis-py types them incompletely."""

    def execute_command(self, *args: Any) -> Awaitable[Any]: ...

    def get_encoder(self) -> Any: ...

    def pipeline(self, transaction: bool) -> Any: ...

    def register_script(self, script: str) -> Any: ...
