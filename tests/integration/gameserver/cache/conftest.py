from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from gameserver.cache import DistributedCache


@pytest.fixture
def url(redis_url: str) -> str:
    """Return the address of an empty Redis database that no other directory of tests uses."""
    url = f"{redis_url}/199"
    with SyncRedis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(url, socket_timeout=5) as client:
        yield client


@pytest.fixture
async def make_cache(url: str) -> AsyncIterator[Callable[..., DistributedCache]]:
    """Yield a function that makes a cache with a separate Redis client, as each server has."""
    clients: list[Redis] = []

    def make(**options: float) -> DistributedCache:
        clients.append(Redis.from_url(url, socket_timeout=5))
        return DistributedCache(clients[-1], **options)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def cache(make_cache: Callable[..., DistributedCache]) -> DistributedCache:
    return make_cache(jitter=0)
