"""Tests that the keys in use are found with each kind of eviction policy."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from gameserver.cache import DistributedCache
from gameserver.server.process import end_tasks


async def test_the_counter_of_redis_ranks_the_keys_with_an_lfu_policy(cache: DistributedCache, redis: Redis) -> None:
    before = (await redis.config_get("maxmemory-policy"))["maxmemory-policy"]
    await redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        for number in range(50):
            await cache.set("profile", f"p{number}", number)
        for _ in range(500):
            await cache.get("profile", "p7")
        measured = await cache.hot_keys(seconds=1, limit=3)
    finally:
        await redis.config_set("maxmemory-policy", before)
    assert measured.keys[0].name == "profile:p7"
    assert measured.keys[0].frequency is not None
    assert measured.keys[0].frequency > (measured.keys[1].frequency or 0)
    assert (len(measured.keys), measured.missed_percent) == (3, 0)


async def test_seconds_of_use_are_counted_with_another_policy(cache: DistributedCache, redis: Redis) -> None:
    await cache.set("profile", "busy", 1)
    await redis.set("not-the-caches", 1)
    reading = asyncio.create_task(_read(cache, redis))
    measured = await cache.hot_keys(seconds=3, limit=5)
    await end_tasks([reading])
    assert [key.name for key in measured.keys] == ["profile:busy"]
    assert measured.keys[0].frequency is None
    assert 2 <= measured.keys[0].busy_seconds <= measured.seconds == 3


async def test_a_key_read_once_a_second_is_busy_also_if_the_measurement_begins_with_a_second(
    cache: DistributedCache, redis: Redis
) -> None:
    """Test a measurement that begins at the beginning of a second.

    Redis counts idle time in whole seconds, so each key looks idle when a second begins.
    """
    await cache.set("profile", "busy", 1)
    reading = asyncio.create_task(_read_once_a_second(cache, redis))
    await _fraction(redis, 0.02)
    measured = await cache.hot_keys(seconds=3, limit=5)
    reading.cancel()
    assert [key.name for key in measured.keys] == ["profile:busy"]


async def test_an_empty_cache_has_no_hot_keys(cache: DistributedCache, redis: Redis) -> None:
    assert (await cache.hot_keys(seconds=1, limit=5)).keys == ()


async def _fraction(redis: Redis, wanted: float) -> None:
    """Wait until the fraction `wanted` (0 to 1) of a second of Redis' clock is over."""
    _, microseconds = await redis.time()
    await asyncio.sleep((wanted - microseconds / 1e6) % 1)


async def _read_once_a_second(cache: DistributedCache, redis: Redis) -> None:
    while True:
        await _fraction(redis, 0.4)
        await cache.get("profile", "busy")
        await asyncio.sleep(0.1)


async def _read(cache: DistributedCache, redis: Redis) -> None:
    while True:
        await cache.get("profile", "busy")
        await redis.get("not-the-caches")
        await asyncio.sleep(0.1)
