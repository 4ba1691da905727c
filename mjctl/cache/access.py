"""The two ways to one region's cache: straight to Redis, or through the ops function inside its network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gameserver.cache import MISS, CacheKey, CacheStats, DistributedCache, HotKeys, PatternResult, SweepProgress
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


class Access(Protocol):
    """What operators do with a cache. Semantics are those of `gameserver.cache.DistributedCache`."""

    async def stats(self) -> CacheStats: ...

    async def hot_keys(self, *, seconds: int, limit: int) -> HotKeys: ...

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing: ...

    async def value(self, namespace: str, key: str) -> CachedValue: ...

    async def ttl(self, namespace: str, key: str) -> float | None: ...

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool: ...

    async def invalidate(self, namespace: str, key: str) -> bool: ...

    async def invalidate_namespace(self, namespace: str) -> int: ...

    async def invalidate_pattern(
        self,
        pattern: str,
        *,
        dry_run: bool = False,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> PatternResult: ...

    async def flush(self, *, on_progress: OnProgress | None = None) -> int: ...


class DirectCache(DistributedCache):
    """The cache over a connection to its Redis."""

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
        found: dict[str, CacheKey] = {}
        async for key in self.scan(pattern, sizes=sizes):
            if key.name not in found and len(found) == limit:
                return by_name(found, truncated=True)
            found[key.name] = key
        return by_name(found, truncated=False)

    async def value(self, namespace: str, key: str) -> CachedValue:
        name = f"{namespace}:{key}"
        value = await self.get(namespace, key, default=MISS)
        if value is MISS:
            return CachedValue(name, found=False)
        return CachedValue(name, found=True, value=value, ttl_seconds=await self.ttl(namespace, key))


def by_name(found: dict[str, CacheKey], *, truncated: bool) -> KeyListing:
    return KeyListing(tuple(found[name] for name in sorted(found)), truncated)


@asynccontextmanager
async def open_cache(contract: Contract) -> AsyncIterator[Access]:
    """The cache of one region.

    Raises:
        UnreachableError: Redis, or the ops function, does not answer.
        PermissionDeniedError: the ops function may not be invoked.
        UsageError: a name or pattern is malformed.
    """
    if contract.cache.access == "ops_function":
        from mjctl.cache.remote import remote_cache

        async with remote_cache(contract) as remote:
            yield remote
        return
    with AwsClients(contract) as clients:
        async with cache(contract, clients, timeout_seconds=10) as redis:
            try:
                yield DirectCache(redis)
            except ValueError as error:
                raise UsageError(str(error)) from error
