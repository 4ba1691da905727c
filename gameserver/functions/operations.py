"""Runs commands for operators, as the Lambda function `ops`.

Operators need the function `ops`, because the cache and the state store can be reached only from the VPC.

A command is a JSON object, e.g. {"command": "invalidate_pattern", "pattern": "profile:*", "dry_run": true}. The answer
to a command is a JSON object too. No command reads values of the cache, because values are data of players.

The field `operator` of a command is a name for the log, and nothing verifies it. CloudTrail records the verified
identity of the operator with the id of the request.
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
    """Measures the cache. The answer is a `CacheStats`."""


class StateCommand(_Command, frozen=True, kw_only=True, tag="state"):
    """Measures the state store. The answer is a `StateFigures`."""


class ListKeys(_Command, frozen=True, kw_only=True, tag="keys"):
    """Lists the keys of the cache that match a glob. The answer is {keys: [CacheKey], complete}.

    Attributes:
        pattern: glob over `<namespace>:<key>`.
        limit: largest number of keys in the answer. `complete` is false if more keys than `limit` match.
        sizes: True to measure the memory of each key too.
    """

    pattern: str
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    sizes: bool = False


class TimeToLive(_Command, frozen=True, kw_only=True, tag="ttl"):
    """Reads the time to live of a key in the cache.

    The answer is {ttl_seconds}, which is null if the key does not exist.
    """

    namespace: str
    key: str


class Expire(_Command, frozen=True, kw_only=True, tag="expire"):
    """Sets the time to live of a key in the cache. The answer is {found}, which is false if the key does not exist."""

    namespace: str
    key: str
    ttl_seconds: Seconds


class Invalidate(_Command, frozen=True, kw_only=True, tag="invalidate"):
    """Removes a key from the cache. The answer is {found}, which is false if the key did not exist."""

    namespace: str
    key: str


class InvalidateNamespace(_Command, frozen=True, kw_only=True, tag="invalidate_namespace"):
    """Makes every key of a namespace unreadable.

    The answer is {generation}: the namespace's new number, which is part of the name of each new value in Redis.
    """

    namespace: str


class _Sweep(_Command, frozen=True, kw_only=True):
    """Describes a sweep over the cache, which can need several invocations of `ops`.

    If an answer has a `resume_token`, the caller must continue the sweep with another invocation.

    Attributes:
        resume_token: the `resume_token` of the last answer, or None to begin a sweep.
        seconds: longest time of this invocation in seconds. The sweep stops earlier if Lambda gives the invocation less
            time than `seconds`.
    """

    resume_token: str | None = None
    seconds: Annotated[float, Meta(gt=0, le=600)] = 600


class InvalidatePattern(_Sweep, frozen=True, kw_only=True, tag="invalidate_pattern"):
    """Removes the keys of the cache that match a glob. The answer is a `PatternResult`.

    Attributes:
        pattern: glob over `<namespace>:<key>`.
        dry_run: True to count the keys and remove nothing.
        max_keys_per_second: largest number of keys to remove per second, or None.
    """

    pattern: str
    dry_run: bool = False
    max_keys_per_second: Annotated[float, Meta(gt=0)] | None = None


class Flush(_Sweep, frozen=True, kw_only=True, tag="flush"):
    """Empties the cache. The answer is a `PatternResult`.

    A flush makes all keys of the cache unreadable at once, and frees the memory of these keys in steps. Keys of Redis
    that do not belong to the cache stay.
    """


class WatchHotKeys(_Command, frozen=True, kw_only=True, tag="hot_keys"):
    """Finds the keys of the cache that servers read most. The answer is a `HotKeys`.

    Attributes:
        seconds: number of seconds for which the command observes Redis.
        limit: largest number of keys in the answer.
    """

    seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ListServers(_Command, frozen=True, kw_only=True, tag="servers"):
    """Lists the game servers that are alive. The answer is {servers: [ServerInfo], drains: {id: {by, at, message}}}."""


class Drain(_Command, frozen=True, kw_only=True, tag="drain"):
    """Drains a game server: the server hands its matches over and takes no new matches.

    The answer is {found}, a boolean.

    Attributes:
        server_id: id of the game server. `found` is false if no live server has this id.
        message: reason for the drain, which `ListServers` shows.
    """

    server_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    message: Annotated[str, Meta(max_length=512)] | None = None


Command: TypeAlias = (
    StatsCommand
    | StateCommand
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

# A sweep stops 3 s before the invocation must end, so that there is time for the sweep's step in progress and for the
# answer of `ops`.
_RESERVE_SECONDS = 3.0


async def run(event: Any, services: Services, *, seconds: float) -> dict[str, Any]:
    """Run a command.

    Args:
        event: the command as decoded JSON.
        services: the connections and limits of this process.
        seconds: time in which the command must end.

    Returns:
        The answer of the command, or {error: {code, message}} if the command fails. The codes are `invalid_request`,
        `foreign_value` (another program has overwritten a key of the cache) and `redis_unavailable`.
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
        case StateCommand():
            answer = await services.directory.figures()
        case ListServers():
            servers = await services.directory.servers()
            drains = await draining.requests(services.state, [server.id for server in servers if server.draining])
            answer = {"servers": servers, "drains": drains}
        case Drain():
            alive = any(server.id == command.server_id for server in await services.directory.servers())
            if alive:
                await draining.request(services.state, command.server_id, by=command.operator, message=command.message)
            answer = {"found": alive}
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
            listed = {entry.name: entry async for entry in entries}
            answer = {"keys": list(islice(listed.values(), command.limit)), "complete": len(listed) <= command.limit}
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
            raise ValueError(f"unknown command on the cache: {command}")
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
