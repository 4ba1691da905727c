"""Tests the cache's consistency with a writer process and three reader processes, for `make bench-cache`.

A read must not return a value from before an invalidation that had ended when the read began.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

from gameserver.cache import DistributedCache

TRUTHS = 16
STOP = 2 * TRUTHS


class Truth:
    """Holds numbers in memory that the four processes share.

    The memory has for each key the current value, and the oldest value that a reader may still read. The number at the
    index `STOP` tells the four processes to stop.

    Attributes:
        numbers: view of all numbers in the shared memory.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8 * (STOP + 1))
        self.numbers = memoryview(self._memory).cast("q")

    def close(self) -> None:
        """Release the shared memory."""
        self.numbers.release()
        self._memory.close()


async def read(port: int, truth: memoryview, near: bool, seed: int) -> dict[str, int]:
    """Read values until the processes must stop, and count the reads, stale values and reads from the near-cache."""
    generator = random.Random(seed)
    reads = stale = 0
    async with Redis(port=port) as redis:
        cache = DistributedCache(redis, near_namespaces=["truth"] if near else [])

        async def reader() -> None:
            nonlocal reads, stale
            while not truth[STOP]:
                index = generator.randrange(TRUTHS)

                async def load(index: int = index) -> int:
                    value = truth[index]
                    # Wait between the read and the return of the value, so that an invalidation can make the value
                    # stale before the cache stores it.
                    await asyncio.sleep(generator.random() * 0.005)
                    return value

                at_least = truth[TRUTHS + index]
                stale += await cache.get_or_load("truth", str(index), load) < at_least
                reads += 1
                if reads % 50 == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*(reader() for _ in range(8)))
    return {"reads": reads, "stale": stale, "from_memory": cache.counters.near_hits}


async def write(port: int, truth: memoryview, near: bool, seed: int) -> dict[str, int]:
    """Change and invalidate values in five ways until the processes must stop, and count the changes of each way."""
    generator = random.Random(seed)
    kinds = {"invalidate": 0, "invalidate_many": 0, "set": 0, "pattern": 0, "namespace": 0}
    async with Redis(port=port) as redis:
        cache = DistributedCache(redis, near_namespaces=["truth"] if near else [])
        while not truth[STOP]:
            index = generator.randrange(TRUTHS)
            kind = generator.choice(list(kinds))
            truth[index] += 1
            match kind:
                case "invalidate":
                    await cache.invalidate("truth", str(index))
                case "invalidate_many":
                    await cache.invalidate_many([("truth", str(index)), ("truth", "0")])
                case "set":
                    await cache.set("truth", str(index), truth[index])
                case "pattern":
                    await cache.invalidate_pattern(f"tru*:{index}")
                case "namespace":
                    await cache.invalidate_namespace("truth")
            truth[TRUTHS + index] = truth[index]
            kinds[kind] += 1
            await asyncio.sleep(generator.random() * 0.004)
    return kinds


def measure_consistency(folder: Path, port: int, wanted: int, near: bool) -> dict[str, Any]:
    """Run the four processes for at least ten seconds, and until the readers together have done `wanted` reads."""
    path = folder / f"truth-{near}"
    path.write_bytes(bytes(8 * (STOP + 1)))
    truth = Truth(path)
    start = time.monotonic()
    rate = 0.0
    total: dict[str, int] = {"reads": 0, "stale": 0, "from_memory": 0}
    changes: dict[str, int] = {}
    try:
        while total["reads"] < wanted:
            truth.numbers[STOP] = 0
            roles = ["write", "read", "read", "read"]
            command = [sys.executable, __file__, "--port", str(port), "--truth", str(path), *["--near"] * near]
            children = [
                subprocess.Popen(
                    [*command, "--role", role, "--seed", str(random.getrandbits(30))], stdout=subprocess.PIPE
                )
                for role in roles
            ]
            time.sleep(min(120.0, max(10.0, (wanted - total["reads"]) / rate)) if rate else 10.0)
            truth.numbers[STOP] = 1
            written, *readers = [json.loads(child.communicate(timeout=60)[0]) for child in children]
            for name in total:
                total[name] += sum(counts[name] for counts in readers)
            changes = {name: count + changes.get(name, 0) for name, count in written.items()}
            rate = max(1.0, total["reads"] / (time.monotonic() - start))
    finally:
        truth.close()
    return {**total, "changes": changes, "seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    """Run one of the four processes, and print its counts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--role", choices=("read", "write"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--near", action="store_true")
    arguments = parser.parse_args()
    truth = Truth(arguments.truth)
    work = write if arguments.role == "write" else read
    counts = uvloop.run(work(arguments.port, truth.numbers, arguments.near, arguments.seed))
    truth.close()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
