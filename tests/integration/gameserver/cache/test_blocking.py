from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gameserver.cache import MISS, DistributedCache, SyncDistributedCache


@pytest.fixture
def sync_cache(url: str) -> Iterator[SyncDistributedCache]:
    with SyncDistributedCache(url, jitter=0) as cache:
        yield cache


async def test_the_blocking_cache_shares_values_with_the_asyncio_cache(
    sync_cache: SyncDistributedCache, cache: DistributedCache
) -> None:
    await cache.set("profile", "a", 1)
    assert sync_cache.get("profile", "a") == 1
    sync_cache.set("profile", "b", 2, ttl_seconds=50)
    assert await cache.get("profile", "b") == 2
    assert sync_cache.expire("profile", "b", 5)
    assert 0 < (sync_cache.ttl("profile", "b") or 0) <= 5
    assert sync_cache.invalidate("profile", "a")
    assert await cache.get("profile", "a", MISS) is MISS


def test_every_method_of_the_blocking_cache_works(sync_cache: SyncDistributedCache) -> None:
    for number in range(20):
        sync_cache.set("profile", str(number), number)
    assert len(list(sync_cache.scan("profile:1*", sizes=True))) == 11
    assert sync_cache.invalidate_pattern("profile:1*").removed == 11
    assert sync_cache.stats().namespaces[0].keys == 9
    generation = sync_cache.invalidate_namespace("profile")
    assert sync_cache.invalidate_namespace("profile") == generation + 1
    assert sync_cache.reclaim().removed == 9
    assert sync_cache.namespaces() == ["profile"]
    assert sync_cache.flush() == 0


def test_a_scan_may_be_stopped_early(sync_cache: SyncDistributedCache) -> None:
    sync_cache.set("profile", "a", 1)
    sync_cache.set("profile", "b", 1)
    for entry in sync_cache.scan("profile"):
        assert entry.namespace == "profile"
        break


def test_one_load_serves_all_threads(sync_cache: SyncDistributedCache) -> None:
    loads = []

    def load() -> str:
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return "value"

    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(sync_cache.get_or_load, "profile", "a", load) for _ in range(8)]
        assert {read.result() for read in reads} == {"value"}
    assert len(loads) == 1


def test_errors_of_the_loader_reach_the_caller(sync_cache: SyncDistributedCache) -> None:
    def fail() -> None:
        raise LookupError("no such player")

    with pytest.raises(LookupError):
        sync_cache.get_or_load("profile", "a", fail)


def test_a_cache_can_be_closed_twice(url: str) -> None:
    cache = SyncDistributedCache(url)
    cache.close()
    cache.close()
