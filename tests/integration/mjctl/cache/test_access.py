"""Tests each operation on a cache by a connection to Redis, and through the ops function (an emulated Lambda)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.cache import DistributedCache
from gameserver.runtime.settings import Settings
from gameserver.server.process import end_tasks
from mjctl.cache.access import flush, invalidate_key, invalidate_namespace, with_cache
from mjctl.cache.model import matches_everything, split_name
from mjctl.models.contract import Contract
from mjctl.models.errors import RefusedError, UsageError
from tests.integration.mjctl.ops_lambda import ops_lambda


@pytest.fixture(params=["direct", "ops_function"])
def contract(request: Any, contract: Contract, settings: Settings) -> Iterator[Contract]:
    if request.param == "direct":
        yield contract
        return
    with ops_lambda(settings) as arn:
        access = {"access": "ops_function", "ops_function_arn": arn}
        yield contract.model_copy(update={"cache": contract.cache.model_copy(update=access)})


@pytest.fixture
async def redis(contract: Contract) -> AsyncIterator[Redis]:
    client = Redis.from_url(contract.cache.url)
    yield client
    await client.aclose()


@pytest.fixture
async def cache(redis: Redis) -> DistributedCache:
    """Return a cache with profiles p0 to p29 and a leaderboard. Redis also has the lease of a match."""
    cache = DistributedCache(redis)
    for number in range(30):
        await cache.set("profile", f"p{number}", {"number": number}, ttl_seconds=100)
    await cache.set("leaderboard", "top", [1, 2, 3])
    await redis.set("{m:1}:lease", "server-1:7")
    return cache


async def test_stats_count_each_namespace(contract: Contract, cache: DistributedCache) -> None:
    stats = await with_cache(contract, lambda opened: opened.stats())
    assert {space.name: space.keys for space in stats.namespaces} == {"profile": 30, "leaderboard": 1}
    assert stats.memory_bytes > 0


async def test_keys_are_listed_by_pattern_up_to_the_limit(contract: Contract, cache: DistributedCache) -> None:
    every = await with_cache(contract, lambda opened: opened.list_keys("profile:*", limit=30, sizes=True))
    assert len(every.keys) == 30
    assert not every.truncated
    assert all(key.size_bytes for key in every.keys)
    few = await with_cache(contract, lambda opened: opened.list_keys("profile:*", limit=5, sizes=False))
    assert len(few.keys) == 5
    assert few.truncated


async def test_get_distinguishes_a_stored_null_from_an_absent_key(contract: Contract, cache: DistributedCache) -> None:
    if contract.cache.access != "direct":
        with pytest.raises(RefusedError, match="players"):
            await with_cache(contract, lambda opened: opened.value(*split_name("profile:p7")))
        return
    await cache.set("profile", "null", None)
    assert (await with_cache(contract, lambda opened: opened.value(*split_name("profile:null")))).exists
    assert not (await with_cache(contract, lambda opened: opened.value(*split_name("profile:absent")))).exists
    cached = await with_cache(contract, lambda opened: opened.value(*split_name("profile:p7")))
    assert cached.value == {"number": 7}
    assert cached.ttl_seconds is not None


async def test_expire_sets_the_time_to_live(contract: Contract, cache: DistributedCache) -> None:
    assert await with_cache(contract, lambda opened: opened.expire(*split_name("profile:p1"), 5000))
    left = await with_cache(contract, lambda opened: opened.ttl(*split_name("profile:p1")))
    assert left is not None
    assert 4000 < left <= 5000
    assert not await with_cache(contract, lambda opened: opened.expire(*split_name("profile:absent"), 5))


async def test_the_keys_of_a_pattern_are_counted_and_then_removed_for_all_servers(
    contract: Contract, cache: DistributedCache, redis: Redis
) -> None:
    dry = await with_cache(contract, lambda opened: opened.invalidate_pattern("profile:p1*", dry_run=True))
    assert (dry.matched, dry.removed) == (11, 0)
    assert await cache.get("profile", "p10") == {"number": 10}
    done = await with_cache(contract, lambda opened: opened.invalidate_pattern("profile:p1*", dry_run=False))
    assert done.removed == dry.matched
    assert await cache.get("profile", "p10") is None
    assert await cache.get("profile", "p2") == {"number": 2}
    assert await redis.get("{m:1}:lease") == b"server-1:7"


async def test_a_namespace_is_invalidated_in_one_step(contract: Contract, cache: DistributedCache) -> None:
    dry = await with_cache(contract, lambda opened: invalidate_namespace(opened, "profile", dry_run=True))
    assert (dry.keys, dry.generation) == (30, None)
    done = await with_cache(contract, lambda opened: invalidate_namespace(opened, "profile", dry_run=False))
    assert done.keys == 30
    assert await cache.get("profile", "p1") is None
    assert await cache.get("leaderboard", "top") == [1, 2, 3]


async def test_invalidating_an_unknown_namespace_does_not_create_it(
    contract: Contract, cache: DistributedCache
) -> None:
    assert (await with_cache(contract, lambda opened: invalidate_namespace(opened, "nosuch", dry_run=False))).keys == 0
    assert await cache.namespaces() == ["leaderboard", "profile"]


async def test_invalidating_a_key_leaves_other_keys_unchanged(contract: Contract, cache: DistributedCache) -> None:
    assert await with_cache(contract, lambda opened: invalidate_key(opened, *split_name("profile:p1"), dry_run=True))
    assert await cache.get("profile", "p1") is not None
    assert await with_cache(contract, lambda opened: invalidate_key(opened, *split_name("profile:p1"), dry_run=False))
    assert not await with_cache(
        contract, lambda opened: invalidate_key(opened, *split_name("profile:p1"), dry_run=False)
    )
    assert await cache.get("profile", "p2") is not None


async def test_flush_empties_the_cache_and_keeps_the_leases_of_matches(
    contract: Contract, cache: DistributedCache, redis: Redis
) -> None:
    assert (await with_cache(contract, lambda opened: flush(opened, dry_run=True))).keys == 31
    assert await cache.get("profile", "p1") is not None
    assert (await with_cache(contract, lambda opened: flush(opened, dry_run=False))).keys == 31
    assert (await with_cache(contract, lambda opened: opened.list_keys("*", limit=10, sizes=False))).keys == ()
    assert await redis.get("{m:1}:lease") == b"server-1:7"


@pytest.mark.parametrize("name", ["profile", "profile:", ":key", ""])
async def test_a_malformed_key_is_refused(contract: Contract, name: str) -> None:
    with pytest.raises(UsageError):
        await with_cache(contract, lambda opened: opened.value(*split_name(name)))


@pytest.mark.parametrize("pattern", ["", ":x", "profile:"])
async def test_a_malformed_pattern_is_refused(contract: Contract, pattern: str) -> None:
    with pytest.raises(UsageError):
        await with_cache(contract, lambda opened: opened.invalidate_pattern(pattern, dry_run=True))


async def test_stats_list_the_largest_keys(contract: Contract, cache: DistributedCache) -> None:
    await cache.set("profile", "huge", "x" * 50_000)
    stats = await with_cache(contract, lambda opened: opened.stats())
    assert stats.largest[0].name == "profile:huge"
    assert stats.largest[0].size_bytes > 50_000
    assert (stats.estimated, stats.larger_share) == (False, 0)
    assert {space.memory_error_bytes for space in stats.namespaces} == {0}


async def test_hot_keys_list_a_key_that_is_read_often(
    contract: Contract, cache: DistributedCache, redis: Redis
) -> None:
    for key in [key async for key in redis.scan_iter("cache:{profile}*")]:
        # The option IDLETIME of RESTORE makes each key look as if no server had read the key for 100 s.
        value, left = await redis.dump(key), await redis.pttl(key)
        await redis.execute_command("RESTORE", key, left, value, "REPLACE", "IDLETIME", 100)

    async def read() -> None:
        while True:
            await cache.get("profile", "p7")
            await asyncio.sleep(0.1)

    reading = asyncio.create_task(read())
    hot = await with_cache(contract, lambda opened: opened.hot_keys(seconds=2, limit=5))
    await end_tasks([reading])
    assert "profile:p7" in [key.name for key in hot.keys]
    assert "profile:p8" not in [key.name for key in hot.keys]
    assert hot.missed_percent == 0


@pytest.mark.parametrize(
    ("pattern", "everything"),
    [("*", True), ("*:*", True), ("**:?*", True), ("[a-z]*:*", True), ("profile:*", False), ("*:p*", False)],
)
def test_a_pattern_of_wildcards_matches_everything(pattern: str, everything: bool) -> None:
    assert matches_everything(pattern) is everything
