"""The promise over processes: no read that begins after an invalidation has returned sees the value from before."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time

from redis.asyncio import Redis

from gameserver.cache import DistributedCache

_SECONDS = 3.0
_KEYS = 4


async def _read(url: str, seed: int) -> tuple[int, int]:
    """Read through the cache; return reads and stale reads."""
    generator = random.Random(seed)
    reads = stale = 0
    async with Redis.from_url(url) as redis:
        cache = DistributedCache(redis)

        async def reader() -> None:
            nonlocal reads, stale
            while time.monotonic() < end:
                key = str(generator.randrange(_KEYS))

                async def load(key: str = key) -> int:
                    value = int(await redis.get(f"truth:{key}") or 0)
                    # The time in which an invalidation makes the value that was read an old one.
                    await asyncio.sleep(generator.random() * 0.01)
                    return value

                at_least = int(await redis.get(f"invalidated:{key}") or 0)
                value = await cache.get_or_load("truth", key, load)
                reads += 1
                stale += value < at_least

        end = time.monotonic() + _SECONDS
        await asyncio.gather(*(reader() for _ in range(4)))
    return reads, stale


async def _write(url: str, seed: int) -> tuple[int, int]:
    """Change the truth, invalidate in every way, and say so afterwards; return the number of changes."""
    generator = random.Random(seed)
    changes = 0
    async with Redis.from_url(url) as redis:
        cache = DistributedCache(redis)
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
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
    return changes, 0


def test_no_stale_read_over_processes(url: str) -> None:
    children = [
        subprocess.Popen([sys.executable, __file__, role, url, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed, role in enumerate(("write", "read", "read"))
    ]
    (changes, _), *readers = [json.loads(child.communicate(timeout=30)[0]) for child in children]
    assert changes > 50
    assert all(reads > 500 for reads, _ in readers)
    assert sum(stale for _, stale in readers) == 0


if __name__ == "__main__":
    work = _write if sys.argv[1] == "write" else _read
    sys.stdout.write(json.dumps(asyncio.run(work(sys.argv[2], int(sys.argv[3])))))
