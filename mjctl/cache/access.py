"""Opens a region's cache: by a connection to Redis, or through the ops function if Redis is in a private network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from gameserver.cache import MISS, CacheKey, DistributedCache, ForeignValue, InvalidName
from mjctl.cache.model import Access, CachedValue, FlushResult, KeyListing, NamespaceResult, OnProgress
from mjctl.cache.remote import RemoteCache
from mjctl.clients.boto import RegionClients
from mjctl.clients.ops_function import ops_function
from mjctl.clients.stores import cache as redis_of
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, UsageError

T = TypeVar("T")


class DirectCache(DistributedCache):
    """Reads and changes a cache by a connection to the Redis of the cache."""

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
        """List the keys of the cache that match a pattern.

        Args:
            pattern: glob that must match `<namespace>:<key>`.
            limit: maximum number of keys in the list.
            sizes: whether to read the size of each key's value.
        """
        keys: dict[str, CacheKey] = {}
        foreign = await self.foreign_namespaces()
        async for key in self.scan(pattern, sizes=sizes):
            if key.name not in keys and len(keys) == limit:
                return KeyListing.by_name(keys, truncated=True, foreign_namespaces=foreign)
            keys[key.name] = key
        return KeyListing.by_name(keys, truncated=False, foreign_namespaces=foreign)

    async def value(self, namespace: str, key: str) -> CachedValue:
        """Read a value.

        Raises:
            ForeignValue: another program has written the key: its value is not a string of MessagePack, or it has no
                time to live.
        """
        name = f"{namespace}:{key}"
        try:
            value = await self.get(namespace, key, default=MISS)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ForeignValue(name, f"bytes that are not a value of the cache ({error})") from error
        if value is MISS:
            return CachedValue(name, exists=False)
        return CachedValue(name, exists=True, value=value, ttl_seconds=await self.ttl(namespace, key))


@asynccontextmanager
async def open_cache(contract: Contract) -> AsyncIterator[Access]:
    """Open the cache of one region.

    Raises:
        UnreachableError: Redis or the ops function does not answer.
        PermissionDeniedError: the ops function may not be invoked, or there are no valid credentials.
        UsageError: a namespace, key or pattern that the operator has given is malformed.
        ConflictError: another program has written a key of Redis that has the name of a key of the cache.
    """
    if contract.cache.access == "ops_function":
        async with ops_function(contract) as function:
            yield RemoteCache(contract, function)
        return
    with RegionClients(contract) as clients:
        async with redis_of(contract, clients, timeout_seconds=10) as redis:
            try:
                yield DirectCache(redis)
            except InvalidName as error:
                raise UsageError(str(error)) from error
            except ForeignValue as error:
                raise ConflictError(
                    f"the cache contains data that another program has written: {error}",
                    where=f"{contract.environment}, {contract.region}",
                    hint=_advice(contract, error.name),
                ) from error


async def with_cache(contract: Contract, work: Callable[[Access], Awaitable[T]]) -> T:
    """Open the cache of one region and return the result of `work` on the cache.

    Raises:
        MjctlError: the cache cannot be opened, or `work` fails with one of the errors of `open_cache`.
    """
    async with open_cache(contract) as cache:
        return await work(cache)


async def invalidate_key(cache: Access, namespace: str, key: str, *, dry_run: bool) -> bool:
    """Remove a key from the cache. After the function returns, no server answers with the old value of the key.

    Args:
        dry_run: True to return whether the key exists and remove nothing.

    Returns:
        True if the key existed.
    """
    if not dry_run:
        return await cache.invalidate(namespace, key)
    try:
        return await cache.ttl(namespace, key) is not None
    except ForeignValue:
        return True


async def invalidate_namespace(cache: Access, namespace: str, *, dry_run: bool) -> NamespaceResult:
    """Invalidate all keys of a namespace in one step.

    Redis frees the memory of an invalidated key at the end of the key's time to live.

    Args:
        dry_run: True to count the keys and remove none.
    """
    counted = await cache.invalidate_pattern(f"{namespace}:*", dry_run=True)
    if not counted.namespaces:
        return NamespaceResult(namespace, 0, None, dry_run)
    generation = None if dry_run else await cache.invalidate_namespace(namespace)
    return NamespaceResult(namespace, counted.matched, generation, dry_run)


async def flush(cache: Access, *, dry_run: bool, on_progress: OnProgress | None = None) -> FlushResult:
    """Remove all keys of the cache from Redis. Other keys of the game in Redis, such as matches, stay unchanged.

    Args:
        dry_run: True to count the keys and remove none.
        on_progress: receives the progress of the removal.
    """
    if dry_run:
        result = await cache.invalidate_pattern("*", dry_run=True, on_progress=on_progress)
        return FlushResult(result.matched, result.foreign_namespaces)
    return FlushResult(await cache.flush(on_progress=on_progress), await cache.foreign_namespaces())


def _advice(contract: Contract, name: str) -> str:
    """Return advice on how to remove a key that another program has written.

    Keys that control the cache (`cache-...`) have no name of the form `<namespace>:<key>`, so only redis-cli can remove
    such a key.
    """
    if name.startswith("cache-"):
        return f"find the program that writes to this Redis; `redis-cli del '{name}'` removes the key"
    scope = f"--env {contract.environment} --region {contract.region}"
    return f"`mjctl cache invalidate '{name}' {scope}` removes the key"
