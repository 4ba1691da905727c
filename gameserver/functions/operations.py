"""What the function `ops` does for operators, for whom Redis can be reached from inside its network only.

A command is a JSON object, e.g. {"command": "invalidate_pattern", "pattern": "profile:*", "dry_run": true}, and so is
its answer. Nothing reads values: they are the players'. `operator` is who the caller says to be, for the log; who it
was, CloudTrail knows by the request's id.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Annotated, Any, TypeAlias

import msgspec
import structlog
from msgspec import Meta
from redis.exceptions import RedisError

from gameserver.cache import DistributedCache, ForeignValue, PatternResult
from gameserver.cluster import draining
from gameserver.functions.services import Services

log = structlog.get_logger()

Seconds = Annotated[float, Meta(gt=0, lt=10**9)]


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", forbid_unknown_fields=True):
    operator: Annotated[str, Meta(max_length=512)] = ""


class StatsCommand(_Command, frozen=True, kw_only=True, tag="stats"):
    """-> CacheStats"""


class ListKeys(_Command, frozen=True, kw_only=True, tag="keys"):
    """-> {keys: [CacheKey], complete}"""

    pattern: str
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    sizes: bool = False


class TimeToLive(_Command, frozen=True, kw_only=True, tag="ttl"):
    """-> {ttl_seconds or null}"""

    namespace: str
    key: str


class Expire(_Command, frozen=True, kw_only=True, tag="expire"):
    """-> {found}"""

    namespace: str
    key: str
    ttl_seconds: Seconds


class Invalidate(_Command, frozen=True, kw_only=True, tag="invalidate"):
    """-> {found}"""

    namespace: str
    key: str


class InvalidateNamespace(_Command, frozen=True, kw_only=True, tag="invalidate_namespace"):
    """-> {generation}"""

    namespace: str


class _Sweep(_Command, frozen=True, kw_only=True):
    """Works for `seconds`, or less when the invocation has less; {resume_token} in the answer: invoke again."""

    resume_token: str | None = None
    seconds: Annotated[float, Meta(gt=0, le=600)] = 600


class InvalidatePattern(_Sweep, frozen=True, kw_only=True, tag="invalidate_pattern"):
    """-> PatternResult"""

    pattern: str
    dry_run: bool = False
    max_keys_per_second: Annotated[float, Meta(gt=0)] | None = None


class Flush(_Sweep, frozen=True, kw_only=True, tag="flush"):
    """Every namespace of the cache at once, then its memory piece by piece; no other key. -> PatternResult"""


class WatchHotKeys(_Command, frozen=True, kw_only=True, tag="hot_keys"):
    """-> HotKeys"""

    seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ListServers(_Command, frozen=True, kw_only=True, tag="servers"):
    """-> {servers: [ServerInfo], drains: {id: {by, at, message}}}, those that are alive"""


class Drain(_Command, frozen=True, kw_only=True, tag="drain"):
    """Have a game server hand its matches to the others and take no more. -> {found}"""

    server_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    message: Annotated[str, Meta(max_length=512)] | None = None


Command: TypeAlias = (
    StatsCommand
    | ListKeys
    | TimeToLive
    | Expire
    | Invalidate
    | InvalidateNamespace
    | InvalidatePattern
    | Flush
    | WatchHotKeys
    | ListServers
    | Drain
)

# To finish the step of a sweep that is under way, and to answer.
_RESERVE_SECONDS = 3.0


async def run(event: Any, services: Services, *, seconds: float) -> dict[str, Any]:
    """Run one command within `seconds`. {error: {code, message}} answers what cannot be done: `invalid_request`, or
    `redis_unavailable`.
    """
    start, outcome = time.perf_counter(), "failed"
    arguments: dict[str, Any] = {}
    try:
        command = msgspec.convert(event, Command)
        arguments = msgspec.to_builtins(command)
        log.info("operation", **arguments)
        answer: dict[str, Any] = msgspec.to_builtins(await _run(command, services, seconds))
        outcome = "done"
    except ForeignValue as error:
        return {"error": {"code": "foreign_value", "message": str(error)}}
    except (msgspec.ValidationError, ValueError) as error:
        outcome = "refused"
        return {"error": {"code": "invalid_request", "message": str(error)}}
    except RedisError as error:
        return {"error": {"code": "redis_unavailable", "message": str(error) or type(error).__name__}}
    finally:
        log.info(
            "operation_ended",
            command=arguments.get("command", ""),
            operator=arguments.get("operator", ""),
            outcome=outcome,
            milliseconds=round(1000 * (time.perf_counter() - start), 1),
        )
    return answer


async def _run(command: Command, services: Services, seconds: float) -> Any:
    answer: Any
    match command:
        case ListServers():
            servers = await services.directory.servers()
            drains = await draining.requests(services.redis, [server.id for server in servers if server.draining])
            answer = {"servers": servers, "drains": drains}
        case Drain():
            found = any(server.id == command.server_id for server in await services.directory.servers())
            if found:
                await draining.request(services.redis, command.server_id, by=command.operator, message=command.message)
            answer = {"found": found}
        case InvalidatePattern() | Flush():
            answer = await _sweep(command, services.cache, min(command.seconds, max(0.1, seconds - _RESERVE_SECONDS)))
        case _:
            answer = await _on_cache(command, services.cache)
    return answer


async def _on_cache(command: Command, cache: DistributedCache) -> Any:
    answer: Any
    match command:
        case StatsCommand():
            answer = await cache.stats()
        case ListKeys():
            entries = _first(cache, command.pattern, command.limit + 1, command.sizes)
            found = {entry.name: entry async for entry in entries}
            answer = {"keys": list(islice(found.values(), command.limit)), "complete": len(found) <= command.limit}
        case TimeToLive():
            answer = {"ttl_seconds": await cache.ttl(command.namespace, command.key)}
        case Expire():
            answer = {"found": await cache.expire(command.namespace, command.key, command.ttl_seconds)}
        case Invalidate():
            answer = {"found": await cache.invalidate(command.namespace, command.key)}
        case InvalidateNamespace():
            answer = {"generation": await cache.invalidate_namespace(command.namespace)}
        case WatchHotKeys():
            answer = await cache.hot_keys(seconds=command.seconds, limit=command.limit)
        case _:
            raise ValueError(f"not a command on the cache: {command}")
    return answer


async def _first(cache: DistributedCache, pattern: str, limit: int, sizes: bool) -> Any:
    seen: set[str] = set()
    async for entry in cache.scan(pattern, sizes=sizes):
        seen.add(entry.name)
        yield entry
        if len(seen) == limit:
            return


async def _sweep(command: InvalidatePattern | Flush, cache: DistributedCache, seconds: float) -> PatternResult:
    if isinstance(command, Flush):
        if command.resume_token is None:
            for namespace in await cache.namespaces():
                await cache.invalidate_namespace(namespace)
        return await cache.reclaim(resume_token=command.resume_token, stop_after_seconds=seconds)
    return await cache.invalidate_pattern(
        command.pattern,
        dry_run=command.dry_run,
        max_keys_per_second=command.max_keys_per_second,
        resume_token=command.resume_token,
        stop_after_seconds=seconds,
    )
