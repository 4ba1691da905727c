"""The two ways to one region's cache: straight to Redis, or through the ops function inside its network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from gameserver.cache import (
    MISS,
    CacheKey,
    CacheStats,
    DistributedCache,
    ForeignValue,
    HotKeys,
    InvalidName,
    PatternResult,
    SweepProgress,
)
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import cache
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, UsageError

OnProgress = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class KeyListing:
    """Keys by name.

    Attributes:
        truncated: the limit cut the list off.
        foreign_namespaces: members of the cache's set of namespaces that are none, and were skipped.
    """

    keys: tuple[CacheKey, ...]
    truncated: bool
    foreign_namespaces: int = 0


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

    async def foreign_namespaces(self) -> int: ...


class DirectCache(DistributedCache):
    """The cache over a connection to its Redis."""

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
        found: dict[str, CacheKey] = {}
        foreign = await self.foreign_namespaces()
        async for key in self.scan(pattern, sizes=sizes):
            if key.name not in found and len(found) == limit:
                return by_name(found, truncated=True, foreign_namespaces=foreign)
            found[key.name] = key
        return by_name(found, truncated=False, foreign_namespaces=foreign)

    async def value(self, namespace: str, key: str) -> CachedValue:
        """Read a value.

        Raises:
            ForeignValue: the key holds another type than text, bytes that are not msgpack, or has no time to live.
        """
        name = f"{namespace}:{key}"
        try:
            value = await self.get(namespace, key, default=MISS)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ForeignValue(name, f"bytes that are not a value ({error})") from error
        if value is MISS:
            return CachedValue(name, found=False)
        return CachedValue(name, found=True, value=value, ttl_seconds=await self.ttl(namespace, key))


def by_name(found: dict[str, CacheKey], *, truncated: bool, foreign_namespaces: int = 0) -> KeyListing:
    return KeyListing(tuple(found[name] for name in sorted(found)), truncated, foreign_namespaces)


@asynccontextmanager
async def open_cache(contract: Contract) -> AsyncIterator[Access]:
    """The cache of one region.

    Raises:
        UnreachableError: Redis, or the ops function, does not answer.
        PermissionDeniedError: the ops function may not be invoked.
        UsageError: a name or pattern of the command line is malformed.
        ConflictError: Redis holds something under the cache's names that the cache did not write.
    """
    if contract.cache.access == "ops_function":
        from mjctl.cache.remote import remote_cache

        async with remote_cache(contract) as remote:
            yield remote
        return
    with RegionClients(contract) as clients:
        async with cache(contract, clients, timeout_seconds=10) as redis:
            try:
                yield DirectCache(redis)
            except InvalidName as error:
                raise UsageError(str(error)) from error
            except ForeignValue as error:
                raise ConflictError(
                    f"the cache holds foreign data: {error}",
                    where=f"{contract.environment}, {contract.region}",
                    hint=_advice(contract, error.name),
                ) from error


def _advice(contract: Contract, name: str) -> str:
    """How to remove a foreign value. A control key has no logical name, so that only redis-cli reaches it."""
    if name.startswith("cache-"):
        return f"find the program that writes to this Redis; `redis-cli del '{name}'` removes the key"
    scope = f"--env {contract.environment} --region {contract.region}"
    return f"`mjctl cache invalidate '{name}' {scope}` removes it"
