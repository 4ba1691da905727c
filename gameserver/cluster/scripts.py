"""Lua scripts, loaded once a connection's server knows them, also inside pipelines.

redis-py's own script objects ask `SCRIPT EXISTS` before each pipeline: one more round trip on the hottest path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """One Lua script. `call`: its arguments for a `run`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - EVALSHA's own digest

    def call(self, keys: Sequence[str], *arguments: Any) -> Call:
        return Call(self, ("EVALSHA", self.sha, len(keys), *keys, *arguments))


class Call:
    __slots__ = ("command", "script")

    def __init__(self, script: Script, command: tuple[Any, ...]) -> None:
        self.script = script
        self.command = command


async def run(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    """Run `calls` in one round trip; a result is the script's answer or the exception that Redis answered with.

    Scripts must be safe to repeat: a restarted Redis has forgotten them, then they are loaded and called again.

    Raises:
        redis.exceptions.RedisError: the connection failed; any of the calls may have been carried out.
    """
    results = await _pipeline(redis, calls)
    missing = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
    if missing:
        for source in {calls[index].script.source for index in missing}:
            await redis.script_load(source)
        again = await _pipeline(redis, [calls[index] for index in missing])
        for index, result in zip(missing, again, strict=True):
            results[index] = result
    return results


async def run_one(redis: Redis, call: Call) -> Any:
    """Run one call. Raises: redis.exceptions.RedisError, also when the script itself failed."""
    result = (await run(redis, [call]))[0]
    if isinstance(result, Exception):
        raise result
    return result


async def _pipeline(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    if not calls:
        return []
    pipeline = redis.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(*call.command)
    results: list[Any] = await pipeline.execute(raise_on_error=False)
    return results
