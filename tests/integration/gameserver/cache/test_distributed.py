from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.cache import MISS, DistributedCache

MakeCache = Callable[..., DistributedCache]
Invalidation = Callable[[DistributedCache], Awaitable[object]]

INVALIDATIONS: dict[str, Invalidation] = {
    "key": lambda cache: cache.invalidate("profile", "a"),
    "pattern": lambda cache: cache.invalidate_pattern("profile:*"),
    "namespace": lambda cache: cache.invalidate_namespace("profile"),
    "flush": lambda cache: cache.flush(),
}


@pytest.fixture(params=INVALIDATIONS)
def invalidation(request: pytest.FixtureRequest) -> Invalidation:
    return INVALIDATIONS[request.param]


class Truth:
    """Simulates a source of truth. A test can delay a load between the read and the answer."""

    def __init__(self) -> None:
        self.value = "old"
        self.loads = 0
        self.reading = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def load(self) -> str:
        self.loads += 1
        value = self.value
        self.reading.set()
        await self.answer.wait()
        return value


async def test_a_value_that_a_server_set_is_read_by_another_server(make_cache: MakeCache) -> None:
    await make_cache().set("profile", "a", {"name": "Ada", "scores": [1, 2.5, None], "raw": b"\x00"})
    assert await make_cache().get("profile", "a") == {"name": "Ada", "scores": [1, 2.5, None], "raw": b"\x00"}


async def test_an_absent_key_differs_from_a_stored_none(cache: DistributedCache) -> None:
    await cache.set("profile", "a", None)
    assert await cache.get("profile", "a", default=MISS) is None
    assert await cache.get("profile", "b", default=MISS) is MISS
    assert await cache.get("profile", "b") is None


async def test_keys_may_contain_any_character(cache: DistributedCache, redis: Redis) -> None:
    for key in ("a:b", "x{y}z", "snö ☃", "*?[a]\\"):
        await cache.set("odd", key, key)
        assert await cache.get("odd", key) == key
    assert {entry.key async for entry in cache.scan("odd")} == {"a:b", "x{y}z", "snö ☃", "*?[a]\\"}


async def test_time_to_live(cache: DistributedCache) -> None:
    await cache.set("profile", "a", 1, ttl_seconds=100)
    left = await cache.ttl("profile", "a")
    assert left is not None
    assert 90 < left <= 100
    assert await cache.expire("profile", "a", 5)
    left = await cache.ttl("profile", "a")
    assert left is not None
    assert left <= 5
    assert not await cache.expire("profile", "b", 5)
    assert await cache.ttl("profile", "b") is None


async def test_an_expired_key_is_absent(cache: DistributedCache) -> None:
    await cache.set("profile", "a", 1, ttl_seconds=0.02)
    await asyncio.sleep(0.1)
    assert await cache.get("profile", "a", MISS) is MISS


async def test_jitter_only_shortens(make_cache: MakeCache) -> None:
    cache = make_cache(default_ttl_seconds=1000, jitter=0.5)
    for number in range(30):
        await cache.set("profile", str(number), 1)
    left = [entry.ttl_seconds or 0 async for entry in cache.scan("profile")]
    assert all(490 < seconds <= 1000 for seconds in left)
    assert max(left) - min(left) > 50


@pytest.mark.parametrize("namespace", ["", "Profile", "a b", "a:b", "x" * 33, "a\n"])
async def test_bad_namespaces_are_refused(cache: DistributedCache, namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        await cache.set(namespace, "a", 1)
    with pytest.raises(ValueError, match="namespace"):
        await cache.get(namespace, "a")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
async def test_bad_times_to_live_are_refused(cache: DistributedCache, ttl: float) -> None:
    with pytest.raises(ValueError, match="time to live"):
        await cache.set("profile", "a", 1, ttl_seconds=ttl)


async def test_no_server_reads_the_old_value_after_an_invalidation(
    make_cache: MakeCache, invalidation: Invalidation
) -> None:
    first, second = make_cache(), make_cache()
    await first.set("profile", "a", "old")
    assert await second.get("profile", "a") == "old"
    await invalidation(first)
    assert await second.get("profile", "a", MISS) is MISS


async def test_a_load_during_an_invalidation_is_not_stored(make_cache: MakeCache, invalidation: Invalidation) -> None:
    first, second, truth = make_cache(), make_cache(), Truth()
    truth.answer.clear()
    load = asyncio.create_task(second.get_or_load("profile", "a", truth.load))
    await truth.reading.wait()
    truth.value = "new"
    await invalidation(first)
    truth.answer.set()
    assert await load == "old"
    assert second.counters.not_stored == 1
    assert await second.get_or_load("profile", "a", truth.load) == "new"
    assert await first.get("profile", "a") == "new"


async def test_a_read_after_an_invalidation_does_not_join_an_older_load(
    cache: DistributedCache, invalidation: Invalidation
) -> None:
    truth = Truth()
    truth.answer.clear()
    older = asyncio.create_task(cache.get_or_load("profile", "a", truth.load))
    await truth.reading.wait()
    truth.value = "new"
    await invalidation(cache)
    truth.reading.clear()
    younger = asyncio.create_task(cache.get_or_load("profile", "a", truth.load))
    await asyncio.wait_for(truth.reading.wait(), 5)
    truth.answer.set()
    assert await younger == "new"
    assert await older == "old"
    assert await cache.get("profile", "a") == "new"


async def test_a_value_set_during_a_load_stays(cache: DistributedCache) -> None:
    truth = Truth()
    truth.answer.clear()
    load = asyncio.create_task(cache.get_or_load("profile", "a", truth.load))
    await truth.reading.wait()
    await cache.set("profile", "a", "set")
    truth.answer.set()
    assert await load == "old"
    assert await cache.get("profile", "a") == "set"


async def test_one_load_serves_all_servers(make_cache: MakeCache) -> None:
    caches, truth = [make_cache() for _ in range(3)], Truth()
    truth.answer.clear()
    reads = [asyncio.create_task(caches[n % 3].get_or_load("profile", "a", truth.load)) for n in range(30)]
    await truth.reading.wait()
    await asyncio.sleep(0.05)
    truth.answer.set()
    assert set(await asyncio.gather(*reads)) == {"old"}
    assert truth.loads == 1


async def test_a_failed_load_raises_in_its_callers_and_lets_the_next_caller_load(make_cache: MakeCache) -> None:
    async def fail() -> None:
        raise LookupError("no such player")

    with pytest.raises(LookupError):
        await make_cache(lease_seconds=60).get_or_load("profile", "a", fail)
    assert await make_cache().get_or_load("profile", "a", Truth().load) == "old"


async def test_a_cancelled_caller_does_not_stop_the_load_of_the_others(cache: DistributedCache) -> None:
    truth = Truth()
    truth.answer.clear()
    first = asyncio.create_task(cache.get_or_load("profile", "a", truth.load))
    await truth.reading.wait()
    second = asyncio.create_task(cache.get_or_load("profile", "a", truth.load))
    # A caller that joins a load in progress counts as a hit.
    while not cache.counters.hits:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    first.cancel()
    truth.answer.set()
    assert await second == "old"
    assert truth.loads == 1


async def test_an_expired_load_lease_lets_another_server_load(make_cache: MakeCache) -> None:
    slow, truth = make_cache(lease_seconds=0.05), Truth()
    truth.answer.clear()
    stuck = asyncio.create_task(slow.get_or_load("profile", "a", truth.load))
    await truth.reading.wait()
    other = Truth()
    other.value = "newer"
    assert await make_cache().get_or_load("profile", "a", other.load) == "newer"
    truth.answer.set()
    assert await stuck == "old"
    assert await slow.get("profile", "a") == "newer"


async def test_old_values_stay_unreadable_after_redis_lost_the_generation(
    cache: DistributedCache, redis: Redis
) -> None:
    await cache.set("profile", "a", "old")
    await cache.invalidate_namespace("profile")
    await redis.delete("cache-gen:{profile}")
    await cache.set("profile", "b", 1)
    assert await cache.get("profile", "a", MISS) is MISS


async def test_a_namespace_is_registered_again_after_redis_lost_all_data(cache: DistributedCache, redis: Redis) -> None:
    await cache.set("profile", "a", 1)
    await redis.flushdb()
    await cache.set("profile", "a", 1)
    assert await cache.namespaces() == ["profile"]
    assert await cache.flush() == 1


async def test_reads_load_and_invalidations_fail_while_redis_does_not_answer(unused_tcp_port: int) -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError

    async with Redis(port=unused_tcp_port, retry=None) as redis:
        cache = DistributedCache(redis)
        assert await cache.get_or_load("profile", "a", Truth().load) == "old"
        assert cache.counters.bypassed == 1
        with pytest.raises(RedisConnectionError):
            await cache.invalidate("profile", "a")


async def test_a_client_that_decodes_responses_is_refused(url: str) -> None:
    async with Redis.from_url(url, decode_responses=True) as redis:
        with pytest.raises(ValueError, match="decode_responses"):
            DistributedCache(redis)


def test_a_value_that_msgpack_cannot_encode_is_refused(make_cache: Any) -> None:
    with pytest.raises(TypeError):
        asyncio.run(make_cache().set("profile", "a", object()))
