"""Commands on a cache that can be reached from inside its network only: what the function `ops` does for operators.

A command is a JSON object, e.g. {"command": "invalidate_pattern", "pattern": "profile:*", "dry_run": true}, and so is
its answer. Nothing reads values: they are the players'.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Annotated, Any, TypeAlias

import msgspec
import structlog
from msgspec import Meta

from gameserver.cache import DistributedCache, SweepProgress

log = structlog.get_logger()

Seconds = Annotated[float, Meta(gt=0, lt=10**9)]


class _Command(msgspec.Struct, frozen=True, tag_field="command", forbid_unknown_fields=True):
    pass


class Stats(_Command, frozen=True, tag="stats"):
    """-> CacheStats"""


class ListKeys(_Command, frozen=True, tag="keys"):
    """-> {keys: [CacheKey], complete}"""

    pattern: str
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    sizes: bool = False


class TimeToLive(_Command, frozen=True, tag="ttl"):
    """-> {ttl_seconds or null}"""

    namespace: str
    key: str


class Expire(_Command, frozen=True, tag="expire"):
    """-> {found}"""

    namespace: str
    key: str
    ttl_seconds: Seconds


class Invalidate(_Command, frozen=True, tag="invalidate"):
    """-> {found}"""

    namespace: str
    key: str


class InvalidateNamespace(_Command, frozen=True, tag="invalidate_namespace"):
    """-> {generation}"""

    namespace: str


class InvalidatePattern(_Command, frozen=True, tag="invalidate_pattern"):
    """-> PatternResult; or, when the time is up, {resume_token, removed}: invoke again with the token."""

    pattern: str
    dry_run: bool = False
    max_keys_per_second: Annotated[float, Meta(gt=0)] | None = None
    resume_token: str | None = None


Command: TypeAlias = Stats | ListKeys | TimeToLive | Expire | Invalidate | InvalidateNamespace | InvalidatePattern


async def run(event: Any, cache: DistributedCache, *, seconds: float) -> dict[str, Any]:
    """Run one command within `seconds`; a malformed one is answered with {error: {code, message}}.

    Raises:
        redis.exceptions.RedisError: the cache does not answer.
    """
    try:
        command = msgspec.convert(event, Command)
        log.info("operation", **msgspec.to_builtins(command))
        answer: dict[str, Any] = msgspec.to_builtins(await _run(command, cache, seconds))
    except (msgspec.ValidationError, ValueError) as error:
        return {"error": {"code": "invalid_request", "message": str(error)}}
    return answer


async def _run(command: Command, cache: DistributedCache, seconds: float) -> Any:
    answer: Any
    match command:
        case Stats():
            answer = await cache.stats()
        case ListKeys(pattern, limit, sizes):
            found = {entry.name: entry async for entry in _first(cache, pattern, limit + 1, sizes)}
            answer = {"keys": list(islice(found.values(), limit)), "complete": len(found) <= limit}
        case TimeToLive(namespace, key):
            answer = {"ttl_seconds": await cache.ttl(namespace, key)}
        case Expire(namespace, key, ttl_seconds):
            answer = {"found": await cache.expire(namespace, key, ttl_seconds)}
        case Invalidate(namespace, key):
            answer = {"found": await cache.invalidate(namespace, key)}
        case InvalidateNamespace(namespace):
            answer = {"generation": await cache.invalidate_namespace(namespace)}
        case InvalidatePattern():
            answer = await _sweep(command, cache, seconds)
    return answer


async def _first(cache: DistributedCache, pattern: str, limit: int, sizes: bool) -> Any:
    seen: set[str] = set()
    async for entry in cache.scan(pattern, sizes=sizes):
        seen.add(entry.name)
        yield entry
        if len(seen) == limit:
            return


async def _sweep(command: InvalidatePattern, cache: DistributedCache, seconds: float) -> Any:
    last: list[SweepProgress] = []

    def remember(progress: SweepProgress) -> None:
        last[:] = [progress]

    try:
        async with asyncio.timeout(seconds):
            return await cache.invalidate_pattern(
                command.pattern,
                dry_run=command.dry_run,
                on_progress=remember,
                max_keys_per_second=command.max_keys_per_second,
                resume_token=command.resume_token,
            )
    except TimeoutError:
        if not last:
            raise
        return {"resume_token": last[0].resume_token, "removed": last[0].removed}
