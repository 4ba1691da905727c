"""One region's cache: look at it, shorten lives, invalidate, flush. Keys are logical, `<namespace>:<key>`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gameserver.cache import MISS, CacheKey, CacheStats, DistributedCache, PatternResult, SweepProgress
from mjctl.aws.clients import AwsClients
from mjctl.aws.stores import cache
from mjctl.models.contract import Contract
from mjctl.models.errors import UsageError

OnProgress = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class KeyListing:
    """Keys by name; `truncated` when the limit cut them off."""

    keys: tuple[CacheKey, ...]
    truncated: bool


@dataclass(frozen=True)
class CachedValue:
    """What is under one key. `found` tells an absent key from a stored null."""

    key: str
    found: bool
    value: Any = None
    ttl_seconds: float | None = None


@dataclass(frozen=True)
class NamespaceResult:
    """A namespace whose `keys` became unreadable at once; `generation` is None for a dry run."""

    namespace: str
    keys: int
    generation: int | None
    dry_run: bool


def matches_everything(pattern: str) -> bool:
    """Whether a pattern spares nothing: it is made of wildcards only."""
    return not pattern.strip("*?:")


def split_name(name: str) -> tuple[str, str]:
    """`profile:abc` -> (`profile`, `abc`).

    Raises:
        UsageError: there is no namespace or no key.
    """
    namespace, colon, key = name.partition(":")
    if not (namespace and colon and key):
        raise UsageError(f"`{name}` is not a key of the cache", hint="a key is <namespace>:<key>, e.g. profile:3f2a")
    return namespace, key


@asynccontextmanager
async def open_cache(contract: Contract) -> AsyncIterator[DistributedCache]:
    """The cache of one region.

    Raises:
        UnreachableError: Redis does not answer.
        UsageError: a name or pattern is malformed.
    """
    with AwsClients(contract) as clients:
        async with cache(contract, clients, timeout_seconds=10) as redis:
            try:
                yield DistributedCache(redis)
            except ValueError as error:
                raise UsageError(str(error)) from error


async def stats(contract: Contract) -> CacheStats:
    """Memory, hit ratio, evictions and clients of the server, and keys and memory of each namespace."""
    async with open_cache(contract) as opened:
        return await opened.stats()


async def list_keys(contract: Contract, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
    """The first `limit` keys that match, as Redis gives them, sorted by name."""
    found: dict[str, CacheKey] = {}
    async with open_cache(contract) as opened:
        async for key in opened.scan(pattern, sizes=sizes):
            if key.name not in found and len(found) == limit:
                return KeyListing(_by_name(found), truncated=True)
            found[key.name] = key
    return KeyListing(_by_name(found), truncated=False)


async def get(contract: Contract, name: str) -> CachedValue:
    namespace, key = split_name(name)
    async with open_cache(contract) as opened:
        value = await opened.get(namespace, key, default=MISS)
        if value is MISS:
            return CachedValue(name, found=False)
        return CachedValue(name, found=True, value=value, ttl_seconds=await opened.ttl(namespace, key))


async def ttl(contract: Contract, name: str) -> float | None:
    """Seconds left; None when the key is not there."""
    namespace, key = split_name(name)
    async with open_cache(contract) as opened:
        return await opened.ttl(namespace, key)


async def expire(contract: Contract, name: str, seconds: float) -> bool:
    """Set the time to live; False when the key is not there."""
    namespace, key = split_name(name)
    async with open_cache(contract) as opened:
        return await opened.expire(namespace, key, seconds)


async def invalidate_key(contract: Contract, name: str, *, dry_run: bool) -> bool:
    """Remove one key; whether it was there. On return no server answers with the old value."""
    namespace, key = split_name(name)
    async with open_cache(contract) as opened:
        if dry_run:
            return await opened.ttl(namespace, key) is not None
        return await opened.invalidate(namespace, key)


async def invalidate_namespace(contract: Contract, namespace: str, *, dry_run: bool) -> NamespaceResult:
    """Make a whole namespace unreadable in one step; its memory comes back as the old keys expire."""
    async with open_cache(contract) as opened:
        if namespace not in await opened.namespaces():
            return NamespaceResult(namespace, 0, None, dry_run)
        counted = await opened.invalidate_pattern(f"{namespace}:*", dry_run=True)
        generation = None if dry_run else await opened.invalidate_namespace(namespace)
        return NamespaceResult(namespace, counted.matched, generation, dry_run)


async def invalidate_pattern(
    contract: Contract,
    pattern: str,
    *,
    dry_run: bool,
    max_keys_per_second: float | None = None,
    resume_token: str | None = None,
    on_progress: OnProgress | None = None,
) -> PatternResult:
    """Remove every key that matches, paced by the latency it causes; cancelling the task stops it where it is."""
    async with open_cache(contract) as opened:
        return await opened.invalidate_pattern(
            pattern,
            dry_run=dry_run,
            max_keys_per_second=max_keys_per_second,
            resume_token=resume_token,
            on_progress=on_progress,
        )


async def flush(contract: Contract, *, dry_run: bool, on_progress: OnProgress | None = None) -> int:
    """Empty the cache, never the game's other keys; how many keys went, or would go."""
    async with open_cache(contract) as opened:
        if dry_run:
            return (await opened.invalidate_pattern("*", dry_run=True, on_progress=on_progress)).matched
        return await opened.flush(on_progress=on_progress)


def _by_name(found: dict[str, CacheKey]) -> tuple[CacheKey, ...]:
    return tuple(found[name] for name in sorted(found))
