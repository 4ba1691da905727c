"""The near-cache against a real Redis: it answers from memory, and never after a change has returned."""

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
    """Whether each change had to wait for leases."""
    found: list[bool] = []

    async def record(wait: object) -> None:
        found.append(bool(wait))

    monkeypatch.setattr(distributed, "_outlive_near", record)
    return found


async def test_a_hot_key_is_read_from_memory(reader: DistributedCache, redis: Redis) -> None:
    await reader.set("hot", "k", {"score": [1, 2]})
    await redis.config_resetstat()
    values = [await reader.get("hot", "k") for _ in range(1000)]
    assert values == [{"score": [1, 2]}] * 1000
    assert reader.counters.hits == 1000
    # The first question of a connection may be sent once more, with the script.
    asked = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert 1000 - asked <= reader.counters.near_hits < 1000
    assert asked < 500


async def test_what_a_reader_does_with_a_value_stays_its_own(reader: DistributedCache) -> None:
    await reader.set("hot", "k", [1])
    for _ in range(10):
        (await reader.get("hot", "k")).append(2)
    assert await reader.get("hot", "k") == [1]


async def test_other_namespaces_are_always_asked_of_redis(reader: DistributedCache, redis: Redis) -> None:
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
async def test_after_a_change_returned_nobody_answers_with_the_old_value(
    make_cache: MakeCache, reader: DistributedCache, change: Change
) -> None:
    # As an operator's command has it: not reading through a near-cache itself.
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


async def test_readers_all_the_while_see_no_old_value(make_cache: MakeCache) -> None:
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


async def test_a_change_waits_only_while_somebody_may_hold_a_lease(
    reader: DistributedCache, redis: Redis, waits: list[bool]
) -> None:
    await reader.set("hot", "k", 1)
    await reader.invalidate("hot", "k")
    assert waits == [False, False]
    await reader.get("hot", "k")
    await reader.invalidate("hot", "k")
    # The leases from before may still run.
    await reader.invalidate("hot", "other")
    assert waits[2:] == [True, True]
    await redis.hincrby(near_key("hot"), "changed_at", -11)
    await reader.invalidate("hot", "k")
    assert waits[4:] == [False]


async def test_a_cancelled_sweep_ends_the_leases_too(make_cache: MakeCache, reader: DistributedCache) -> None:
    writer = make_cache()
    for number in range(2000):
        await writer.set("hot", f"k{number}", number)
    # Seen once, so that the near-caches' token is there.
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
