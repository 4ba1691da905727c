"""One region's cache: look at it, shorten lives, invalidate, flush. Keys are logical, `<namespace>:<key>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gameserver.cache import CacheStats, ForeignValue, HotKeys, PatternResult
from mjctl.cache.access import CachedValue, KeyListing, OnProgress, open_cache
from mjctl.models.contract import Contract
from mjctl.models.errors import UsageError


@dataclass(frozen=True)
class NamespaceResult:
    """A namespace whose `keys` became unreadable at once; `generation` is None for a dry run."""

    namespace: str
    keys: int
    generation: int | None
    dry_run: bool


@dataclass(frozen=True)
class FlushResult:
    """What a flush did.

    Attributes:
        keys: how many keys were removed, or would be.
        foreign_namespaces: members of the cache's set of namespaces that are none, and were skipped.
    """

    keys: int
    foreign_namespaces: int


def matches_everything(pattern: str) -> bool:
    """Whether a pattern may spare nothing: it is made of wildcards only."""
    return not re.sub(r"\[[^]]*\]", "?", pattern).strip("*?:")


def split_name(name: str) -> tuple[str, str]:
    """`profile:abc` -> (`profile`, `abc`).

    Raises:
        UsageError: there is no namespace or no key.
    """
    namespace, colon, key = name.partition(":")
    if not (namespace and colon and key):
        raise UsageError(f"`{name}` is not a key of the cache", hint="a key is <namespace>:<key>, e.g. profile:3f2a")
    return namespace, key


async def stats(contract: Contract) -> CacheStats:
    """Memory, hit ratio, evictions and clients of the server, and keys and memory of each namespace."""
    async with open_cache(contract) as opened:
        return await opened.stats()


async def hot_keys(contract: Contract, *, seconds: int, limit: int) -> HotKeys:
    """The keys that are read most, watched for `seconds`."""
    async with open_cache(contract) as opened:
        return await opened.hot_keys(seconds=seconds, limit=limit)


async def list_keys(contract: Contract, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
    """The first `limit` keys that match, as Redis gives them, sorted by name."""
    async with open_cache(contract) as opened:
        return await opened.list_keys(pattern, limit=limit, sizes=sizes)


async def get(contract: Contract, name: str) -> CachedValue:
    """Raises RefusedError where the cache is reached through the ops function, which reads no values."""
    namespace, key = split_name(name)
    async with open_cache(contract) as opened:
        return await opened.value(namespace, key)


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
            try:
                return await opened.ttl(namespace, key) is not None
            except ForeignValue:
                return True
        return await opened.invalidate(namespace, key)


async def invalidate_namespace(contract: Contract, namespace: str, *, dry_run: bool) -> NamespaceResult:
    """Make a whole namespace unreadable in one step; its memory comes back as the old keys expire."""
    async with open_cache(contract) as opened:
        counted = await opened.invalidate_pattern(f"{namespace}:*", dry_run=True)
        if not counted.namespaces:
            return NamespaceResult(namespace, 0, None, dry_run)
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


async def flush(contract: Contract, *, dry_run: bool, on_progress: OnProgress | None = None) -> FlushResult:
    """Empty the cache, never the game's other keys."""
    async with open_cache(contract) as opened:
        if dry_run:
            result = await opened.invalidate_pattern("*", dry_run=True, on_progress=on_progress)
            return FlushResult(result.matched, result.foreign_namespaces)
        return FlushResult(await opened.flush(on_progress=on_progress), await opened.foreign_namespaces())
