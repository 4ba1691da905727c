from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from gameserver.cache import MISS, DistributedCache, SweepProgress, scripts, sweep

MakeCache = Callable[..., DistributedCache]


@pytest.fixture
async def filled(cache: DistributedCache, redis: Redis) -> DistributedCache:
    """Store 3,000 keys of `profile`, 200 keys of `profile-old`, and 1,000 keys that are not the cache's."""
    await cache.set("profile", "0", 0)
    await cache.set("profile-old", "0", 0)
    for namespace, count in (("profile", 3000), ("profile-old", 200)):
        generation = (await redis.get(f"cache-gen:{{{namespace}}}")).decode()
        pipeline = redis.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"cache:{{{namespace}}}:{generation}:{number}", b"\x01", ex=300)
        await pipeline.execute()
    await redis.mset({f"profile:{number}": 1 for number in range(500)} | {f"m:{number}": 1 for number in range(500)})
    return cache


async def test_a_dry_run_counts_what_a_run_removes(filled: DistributedCache, redis: Redis) -> None:
    before = await redis.dbsize()
    plan = await filled.invalidate_pattern("profile:*", dry_run=True)
    assert (plan.matched, plan.removed, plan.namespaces) == (3000, 0, ("profile",))
    assert await redis.dbsize() == before
    done = await filled.invalidate_pattern("profile:*")
    assert (done.matched, done.removed) == (3000, 3000)
    assert before - 3000 <= await redis.dbsize() <= before - 2999
    assert (await filled.invalidate_pattern("profile:*")).matched == 0


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("profile:1?", 10), ("profile:12*", 111), ("profile*:7", 2), ("profile:[12]", 2), ("nothing:*", 0), ("*", 3200)],
)
async def test_patterns(filled: DistributedCache, redis: Redis, pattern: str, count: int) -> None:
    assert (await filled.invalidate_pattern(pattern, dry_run=True)).matched == count
    assert len([key async for key in filled.scan(pattern)]) == count
    assert (await filled.invalidate_pattern(pattern)).removed == count
    assert len([key async for key in redis.scan_iter("profile:*")]) == 500


@pytest.mark.parametrize("pattern", ["", ":*", "profile:"])
async def test_malformed_patterns_are_refused(cache: DistributedCache, pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        await cache.invalidate_pattern(pattern)


async def test_a_cancelled_sweep_resumes(filled: DistributedCache) -> None:
    progresses: list[SweepProgress] = []

    def stop_midway(progress: SweepProgress) -> None:
        progresses.append(progress)
        if progress.removed > 1000:
            task.cancel()

    task = asyncio.create_task(filled.invalidate_pattern("profile:*", on_progress=stop_midway))
    with pytest.raises(asyncio.CancelledError):
        await task
    left = len([key async for key in filled.scan("profile:*")])
    assert left == 3000 - progresses[-1].removed
    done = await filled.invalidate_pattern("profile:*", resume_token=progresses[-1].resume_token)
    assert done.removed == left
    assert (await filled.invalidate_pattern("profile:*", dry_run=True)).matched == 0


async def test_a_step_that_removes_all_of_its_keys_examines_fewer_keys(
    cache: DistributedCache, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test that a step stays short, although the removal of a key takes twice as long as a scan of the key."""
    for limit in ("SCAN_COUNT", "_MAX_SCAN_COUNT"):
        monkeypatch.setattr(sweep, limit, 3000)
    generation = await cache.invalidate_namespace("all")
    pipeline = redis.pipeline(transaction=False)
    for number in range(3000):
        pipeline.set(f"cache:{{all}}:{generation}:{number}", b"\x01", ex=300)
    await pipeline.execute()
    removed = [0]
    await cache.invalidate_pattern("all:*", on_progress=lambda progress: removed.append(progress.removed))
    assert removed[-1] == 3000
    assert max(after - before for before, after in itertools.pairwise(removed)) < 1500


async def test_a_step_removes_more_than_lua_can_pass_at_once(filled: DistributedCache, redis: Redis) -> None:
    """Test a SCAN that returns 10,000 keys at once, as Redis can do while it shrinks its table."""
    await redis.mset({f"cache:{{many}}:1:{number}": 1 for number in range(10_000)})
    step = redis.register_script(scripts.SWEEP)
    assert await step(args=[0, "cache:{many}:*", 1, 100_000, 1, 1]) == [b"0", 100_000, 0, []]
    assert await step(args=[0, "cache:{many}:*", 1, 100_000, "", 1]) == [b"0", 100_000, 10_000, []]
    assert await redis.keys("cache:{many}:*") == []


async def test_the_limit_of_the_speed_is_kept(filled: DistributedCache) -> None:
    done = await filled.invalidate_pattern("profile:*", max_keys_per_second=10_000)
    assert done.removed == 3000
    assert done.keys_per_second < 13_000


async def test_reclaim_frees_earlier_generations_only(filled: DistributedCache, redis: Redis) -> None:
    await filled.invalidate_namespace("profile")
    await filled.set("profile", "new", 1)
    assert await filled.get("profile", "1", MISS) is MISS
    stats = await filled.stats()
    assert [(n.name, n.keys, n.stale_keys) for n in stats.namespaces] == [("profile", 1, 3000), ("profile-old", 200, 0)]
    assert (await filled.reclaim("profile*")).removed == 3000
    assert await filled.get("profile", "new") == 1


async def test_a_flush_keeps_keys_that_are_not_the_caches(filled: DistributedCache, redis: Redis) -> None:
    assert await filled.flush() == 3200
    assert [key async for key in filled.scan("*")] == []
    assert len([key async for key in redis.scan_iter("profile:*")]) == 500
    assert len([key async for key in redis.scan_iter("m:*")]) == 500


async def test_a_scan_reports_time_to_live_and_size(filled: DistributedCache) -> None:
    entries = [entry async for entry in filled.scan("profile-old:1*", sizes=True)]
    assert {entry.name for entry in entries} >= {"profile-old:1", "profile-old:199"}
    assert all(entry.ttl_seconds and 0 < entry.ttl_seconds <= 300 for entry in entries)
    assert all(entry.size_bytes and 30 < entry.size_bytes < 500 for entry in entries)


async def test_statistics_of_a_large_cache_come_from_a_sample(cache: DistributedCache, redis: Redis) -> None:
    for namespace, count in (("big", 30_000), ("small", 10_000)):
        await cache.set(namespace, "0", 0)
        generation = (await redis.get(f"cache-gen:{{{namespace}}}")).decode()
        pipeline = redis.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"cache:{{{namespace}}}:{generation}:{number}", b"x" * (50 + number % 400), ex=300)
        await pipeline.execute()
    truth = {"big": 0, "small": 0}
    async for key in cache.scan("*", sizes=True):
        truth[key.namespace] += key.size_bytes or 0
    stats = await cache.stats()
    big, small = stats.namespaces
    for space in stats.namespaces:
        assert 0 < space.memory_error_bytes < 0.2 * space.memory_bytes
        # An estimate is within `memory_error_bytes` of the truth in 95 % of the cases, and outside of twice this bound
        # once in ten thousand cases.
        assert abs(space.memory_bytes - truth[space.name]) < 2 * space.memory_error_bytes
    assert len(stats.largest) == 10
    assert 0 < stats.larger_share < 0.001
    assert stats.estimated
    assert 8_000 < stats.sampled_keys < 14_000
    assert big.keys == pytest.approx(30_000, rel=0.08)
    assert small.keys == pytest.approx(10_000, rel=0.2)
    assert stats.memory_bytes > big.memory_bytes > small.memory_bytes > 0
    assert stats.clients >= 1
    assert stats.hit_ratio is not None
