"""Tests that no process reads an old value once an invalidation in another process has returned."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time

import pytest
from redis.asyncio import Redis

from gameserver.cache import DistributedCache

_SECONDS = 3.0
# A process that has not reached `_LEAST_READS`, `_LEAST_NEAR_HITS` or `_LEAST_CHANGES` after `_SECONDS`, as on a busy
# machine, continues until this time limit.
_MOST_SECONDS = 40.0
_LEAST_READS, _LEAST_NEAR_HITS, _LEAST_CHANGES = 200, 40, 11
_KEYS = 4


async def _read(url: str, seed: int, near: bool) -> tuple[int, int, int]:
    """Read keys through the cache. Returns the numbers of all reads, of stale reads, and of near-cache reads."""
    generator = random.Random(seed)
    reads = stale = 0
    async with Redis.from_url(url) as redis:
        cache = DistributedCache(redis, near_namespaces=["truth"] if near else [])

        def enough() -> bool:
            return reads >= _LEAST_READS and (not near or cache.counters.near_hits >= _LEAST_NEAR_HITS)

        async def reader() -> None:
            nonlocal reads, stale
            while time.monotonic() < end or (not enough() and time.monotonic() < latest):
                key = str(generator.randrange(_KEYS))

                async def load(key: str = key) -> int:
                    value = int(await redis.get(f"truth:{key}") or 0)
                    # Pause after the read, so that an invalidation can make the value old before the cache stores it.
                    await asyncio.sleep(generator.random() * 0.01)
                    return value

                at_least = int(await redis.get(f"invalidated:{key}") or 0)
                value = await cache.get_or_load("truth", key, load)
                reads += 1
                stale += value < at_least

        end, latest = time.monotonic() + _SECONDS, time.monotonic() + _MOST_SECONDS
        await asyncio.gather(*(reader() for _ in range(4)))
    return reads, stale, cache.counters.near_hits


async def _write(url: str, seed: int, near: bool) -> tuple[int, int, int]:
    """Change random keys in the source of truth, and invalidate each changed key in a random way.

    After each invalidation, write the new value to the key `invalidated:KEY` for the readers. Returns the number of
    changes.
    """
    generator = random.Random(seed)
    changes = 0
    async with Redis.from_url(url) as redis:
        cache = DistributedCache(redis)
        end, latest = time.monotonic() + _SECONDS, time.monotonic() + _MOST_SECONDS
        while time.monotonic() < end or (changes < _LEAST_CHANGES and time.monotonic() < latest):
            key = str(generator.randrange(_KEYS))
            value = await redis.incr(f"truth:{key}")
            match generator.randrange(4):
                case 0:
                    await cache.invalidate_namespace("truth")
                case 1:
                    await cache.invalidate_pattern(f"tr*:{key}")
                case _:
                    await cache.invalidate("truth", key)
            await redis.set(f"invalidated:{key}", value)
            changes += 1
            await asyncio.sleep(generator.random() * 0.01)
    return changes, 0, 0


@pytest.mark.parametrize("near", [False, True], ids=["redis", "near"])
def test_no_process_reads_a_stale_value(url: str, near: bool) -> None:
    children = [
        subprocess.Popen([sys.executable, __file__, role, url, str(seed), *["near"] * near], stdout=subprocess.PIPE)
        for seed, role in enumerate(("write", "read", "read", "read"))
    ]
    # The test suspends the last reader process several times, and the reader's leases expire during each suspension.
    stopped = children[-1]
    generator = random.Random(4)
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and stopped.poll() is None:
        time.sleep(generator.uniform(0.01, 0.1))
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(generator.uniform(0.05, 0.15))
        stopped.send_signal(signal.SIGCONT)
    (changes, *_), *readers = [json.loads(child.communicate(timeout=_MOST_SECONDS + 20)[0]) for child in children]
    assert changes >= _LEAST_CHANGES
    assert all(reads >= _LEAST_READS for reads, _, _ in readers)
    assert sum(stale for _, stale, _ in readers) == 0
    assert (sum(from_memory for *_, from_memory in readers) > 100) == near


if __name__ == "__main__":
    work = _write if sys.argv[1] == "write" else _read
    sys.stdout.write(json.dumps(asyncio.run(work(sys.argv[2], int(sys.argv[3]), "near" in sys.argv))))
