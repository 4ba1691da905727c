"""Lua scripts that Redis runs, addressed by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """Runs one Lua script in Redis.

    The script must be safe to repeat, because redis-py sends the script again after a lost connection, and Redis may
    have run it already.

    Attributes:
        source: the text of the script.
        sha: SHA-1 of the text, by which EVALSHA names the script.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - EVALSHA's own digest

    async def run(self, redis: Redis, keys: Sequence[str], *arguments: Any) -> Any:
        """Run the script, and load it first if Redis does not know it, for example after a restart.

        Args:
            redis: the client.
            keys: the script's KEYS.
            arguments: the script's ARGV.

        Returns:
            The script's result, as redis-py converts it.

        Raises:
            redis.exceptions.RedisError: Redis does not answer, or the script failed.
        """
        command = ("EVALSHA", self.sha, len(keys), *keys, *arguments)
        try:
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError:
            await redis.script_load(self.source)
            return await redis.execute_command(*command)  # type: ignore[no-untyped-call]
