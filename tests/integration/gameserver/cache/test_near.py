"""Tests the near-cache with a real Redis: it answers from memory, and never with a value from before a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.cache import DistributedCache, distributed
from gameserver.cache.keys import near_key

Change = Callable[[DistributedCache], Awaitable[Any]]
MakeCache = Callable[..., DistributedCache]


@pytest.fixture
def reader(make_cache: MakeCache) -> DistributedCache:
    return make_cache(near_namespaces=["hot"])


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that gets an entry for each change: True if the change waited for leases."""
    waited: list[bool] = []

    async def record(wait: object) -> None:
        waited.append(bool(wait))

    monkeypatch.setattr(distributed, "_outlive_near", record)
    return waited


async def test_a_hot_key_is_read_from_memory(reader: DistributedCache, redis: Redis) -> None:
    await reader.set("hot", "k", {"score": [1, 2]})
    await redis.config_resetstat()
    values = [await reader.get("hot", "k") for _ in range(1000)]
    assert values == [{"score": [1, 2]}] * 1000
    assert reader.counters.hits == 1000
    # redis-py repeats the first EVALSHA of a connection if Redis does not know the script yet.
    commands = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert 1000 - commands <= reader.counters.near_hits < 1000
    assert commands < 500


async def test_a_reader_that_changes_a_value_does_not_change_the_cached_value(reader: DistributedCache) -> None:
    await reader.set("hot", "k", [1])
    for _ in range(10):
        (await reader.get("hot", "k")).append(2)
    assert await reader.get("hot", "k") == [1]


async def test_other_namespaces_are_always_read_from_redis(reader: DistributedCache, redis: Redis) -> None:
    await reader.set("cold", "k", 1)
    for _ in range(10):
        await reader.get("cold", "k")
    assert reader.counters.near_hits == 0
    assert not await redis.exists(near_key("cold"))


CHANGES: dict[str, Change] = {
    "set": lambda cache: cache.set("hot", "k", "new"),
    "invalidate": lambda cache: cache.invalidate("hot", "k"),
    "invalidate_many": lambda cache: cache.invalidate_many([("cold", "k"), ("hot", "k")]),
    "expire": lambda cache: cache.expire("hot", "k", 0.001),
    "namespace": lambda cache: cache.invalidate_namespace("hot"),
    "pattern": lambda cache: cache.invalidate_pattern("h*:k*"),
    "flush": lambda cache: cache.flush(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_no_server_answers_with_the_old_value_after_a_change_returned(
    make_cache: MakeCache, reader: DistributedCache, change: Change
) -> None:
    # The cache `writer` has no near-cache, like the cache of an operator's command.
    writer = make_cache()
    other = make_cache(near_namespaces=["hot"])
    for round_ in range(5):
        await writer.set("hot", "k", f"old{round_}")
        await writer.set("hot", "neighbour", round_)

        async def load() -> str:
            return "new"

        for cache in (reader, other):
            assert await cache.get("hot", "k") == f"old{round_}"
            assert await cache.get_or_load("hot", "k", load) == f"old{round_}"
        await change(writer)
        for cache in (reader, other):
            assert await cache.get("hot", "k", "new") == "new"
            assert await cache.get_or_load("hot", "k", load) == "new"
    assert reader.counters.near_hits > 0


async def test_readers_during_changes_see_no_old_value(make_cache: MakeCache) -> None:
    writer = make_cache()
    readers = [make_cache(near_namespaces=["hot"]) for _ in range(3)]
    written = 0
    reads = stale = 0

    async def read(cache: DistributedCache) -> None:
        nonlocal reads, stale
        while written < 20:
            at_least = written
            value = await cache.get("hot", "k", 1000)
            stale += value < at_least
            reads += 1
            await asyncio.sleep(0)

    await writer.set("hot", "k", 0)
    tasks = [asyncio.create_task(read(cache)) for cache in readers]
    for value in range(1, 21):
        await writer.set("hot", "k", value)
        written = value
    await asyncio.gather(*tasks)
    assert stale == 0
    assert sum(cache.counters.near_hits for cache in readers) > reads / 2


async def test_a_change_waits_only_while_a_process_may_hold_a_lease(
    reader: DistributedCache, redis: Redis, waits: list[bool]
) -> None:
    await reader.set("hot", "k", 1)
    await reader.invalidate("hot", "k")
    assert waits == [False, False]
    await reader.get("hot", "k")
    await reader.invalidate("hot", "k")
    # Leases from before the last invalidation of `k` may still last, so the invalidation of `other` waits too.
    await reader.invalidate("hot", "other")
    assert waits[2:] == [True, True]
    await redis.hincrby(near_key("hot"), "changed_at", -11)
    await reader.invalidate("hot", "k")
    assert waits[4:] == [False]


async def test_a_cancelled_sweep_ends_the_leases_too(make_cache: MakeCache, reader: DistributedCache) -> None:
    writer = make_cache()
    for number in range(2000):
        await writer.set("hot", f"k{number}", number)
    # The read of a reader creates the namespace's token for the near-caches.
    await reader.get("hot", "k0")
    before = await reader._redis.execute_command("HGET", near_key("hot"), "token")
    removed = asyncio.Event()
    sweep = asyncio.create_task(writer.invalidate_pattern("hot:*", on_progress=lambda _: removed.set()))
    await removed.wait()
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    assert await reader._redis.execute_command("HGET", near_key("hot"), "token") != before


async def test_an_evicted_token_is_never_given_again(reader: DistributedCache, redis: Redis) -> None:
    tokens = set()
    for _ in range(5):
        await reader.get("hot", "k")
        tokens.add(await redis.hget(near_key("hot"), "token"))
        await redis.delete(near_key("hot"))
        await asyncio.sleep(distributed.OUTLIVE_SECONDS)
    assert len(tokens) == 5
