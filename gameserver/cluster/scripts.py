"""Lua scripts, loaded once a connection's server knows them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """One Lua script. It must be safe to repeat: a connection that was lost may have carried it out already."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - EVALSHA's own digest

    async def run(self, redis: Redis, keys: Sequence[str], *arguments: Any) -> Any:
        """Run it; a restarted Redis has forgotten it, then it is loaded and run again.

        Raises:
            redis.exceptions.RedisError: also when the script itself failed.
        """
        command = ("EVALSHA", self.sha, len(keys), *keys, *arguments)
        try:
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError:
            await redis.script_load(self.source)
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]
