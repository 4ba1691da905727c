"""Compares the cache with commands that an operator types by hand (`make bench-cache`).

The benchmark starts its own Redis, with the options of the local target, and measures:

1. The removal of 100,000 of 1,000,000 keys by pattern, with `invalidate_pattern` and with
   `redis-cli --scan | xargs redis-cli unlink` in turn. During each removal a client measures the latency of its reads.
2. The invalidation of a namespace of 1,000 keys and of a namespace of 1,000,000 keys.
3. The time and the CPU time of a read from Redis and of a read from the near-cache.
4. Consistency. A writer process invalidates values in every way that the cache offers. Three reader processes do at
   least 1,000,000 reads from Redis, and then 1,000,000 reads through the near-cache. The benchmark counts stale
   reads: reads that returned a value from before an invalidation that had already ended.

The last line of the output is a JSON object with medians, ratios and versions. A run takes about five minutes on two
quiet cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache_consistency import measure_consistency
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from gameserver.cache import DistributedCache
from gameserver.cache.keys import generation_key, value_prefix
from mjctl.local.credentials import REDIS_USER, redis_password
from mjctl.local.layout import Layout
from mjctl.local.programs import prepare
from mjctl.local.spec import ProcessSpec

KEPT, DROPPED, SMALL = 900_000, 100_000, 1_000
VALUE = b"v" * 100
TTL_MS = 3_600_000
NAMESPACE_RUNS = 25
LEADERBOARD = [
    {"rank": n, "player_id": f"{n:036}", "display_name": f"player {n}", "total_score": 10**6 - n, "wins": n}
    for n in range(100)
]


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """Run Redis with the options of a local region but without its password, and yield the port.

    With a password, each measured process, such as redis-cli, would first have to log in to Redis.
    """
    Layout(folder).create()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = prepare(ProcessSpec("redis", "redis", "bench", folder, port, ready="", live=""))
    process = subprocess.Popen(program.command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        with SyncRedis(port=port, password=redis_password(Layout(folder))) as redis:
            redis.acl_setuser(REDIS_USER, enabled=True, nopass=True)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def fill(redis: SyncRedis, namespace: str, prefix: str, count: int) -> None:
    """Store values in the format of the game's cache, but a hundred times faster than the cache stores values."""
    start = f"{value_prefix(namespace)}{generation(redis, namespace)}:{prefix}:"
    for first in range(0, count, 5000):
        pipeline = redis.pipeline(transaction=False)
        for number in range(first, min(count, first + 5000)):
            pipeline.set(f"{start}{number}", VALUE, px=TTL_MS)
        pipeline.execute()


def settle(redis: SyncRedis) -> None:
    """Wait until Redis has rewritten its append-only file after a fill, because the rewrite keeps a core busy."""
    while True:
        info: Any = redis.info("persistence")
        if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
            return
        time.sleep(0.05)


def generation(redis: SyncRedis, namespace: str) -> str:
    """Return the current generation of a namespace."""
    current = redis.get(generation_key(namespace))
    assert isinstance(current, bytes)
    return current.decode()


class LiveClient:
    """Runs a process that reads a key about a thousand times a second, and measures the latency of the reads."""

    def __init__(self, port: int, key: str) -> None:
        command = [sys.executable, __file__, "--role", "live", "--port", str(port), "--key", key]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> dict[str, float]:
        """Stop the process, and return its latencies in milliseconds and the number of samples."""
        answer: dict[str, float] = json.loads(self._process.communicate(timeout=60)[0])
        return answer


def live(port: int, key: str) -> None:
    """Read a key again and again until standard input is closed, and print the latencies.

    `LiveClient` runs this function in a separate process.
    """
    question = b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode())
    samples = []
    os.set_blocking(0, False)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("ready", flush=True)
        while os.read(0, 1) if _readable(0) else True:
            start = time.perf_counter()
            connection.sendall(question)
            while not connection.recv(4096).endswith(b"\r\n"):
                pass
            samples.append(time.perf_counter() - start)
            time.sleep(0.001)
    samples.sort()
    at = {name: 1000 * samples[int(share * (len(samples) - 1))] for name, share in (("p50", 0.5), ("p99", 0.99))}
    print(json.dumps({**at, "max": 1000 * samples[-1], "samples": len(samples)}))


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


async def by_pattern(port: int) -> None:
    """Remove 100,000 of the million keys with `invalidate_pattern`."""
    async with Redis(port=port) as redis:
        result = await DistributedCache(redis).invalidate_pattern("bench:drop:*")
    assert result.removed == DROPPED, result


def by_hand(port: int, prefix: str) -> None:
    """Remove 100,000 of the million keys with redis-cli and xargs."""
    scan = subprocess.Popen(
        ["redis-cli", "-p", str(port), "--scan", "--pattern", f"{prefix}drop:*"], stdout=subprocess.PIPE
    )
    unlink = ["xargs", "redis-cli", "-p", str(port), "unlink"]
    subprocess.run(unlink, stdin=scan.stdout, stdout=subprocess.DEVNULL, check=True)
    assert scan.wait() == 0


def measure_patterns(port: int, rounds: int) -> dict[str, Any]:
    """Measure the two ways to remove keys by pattern in turn, each on an equal set of a million keys."""
    with SyncRedis(port=port) as redis:
        asyncio.run(_create_namespaces(port))
        say("filling 1,000,000 keys")
        fill(redis, "bench", "keep", KEPT)
        prefix = f"{value_prefix('bench')}{generation(redis, 'bench')}:"
        watched = f"{prefix}keep:{KEPT // 2}"
        settle(redis)
        idle = LiveClient(port, watched)
        time.sleep(2)
        runs: dict[str, list[dict[str, float]]] = {"idle": [{**idle.stop(), "keys_per_second": 0}]}
        ways = {"mjctl": lambda: asyncio.run(by_pattern(port))}
        if shutil.which("redis-cli") and shutil.which("xargs"):
            ways["redis_cli"] = lambda: by_hand(port, prefix)
        for round_ in range(rounds):
            for name in sorted(ways, reverse=bool(round_ % 2)):
                fill(redis, "bench", "drop", DROPPED)
                settle(redis)
                client = LiveClient(port, watched)
                start = time.perf_counter()
                ways[name]()
                seconds = time.perf_counter() - start
                felt = client.stop()
                assert redis.dbsize() < KEPT + 100
                runs.setdefault(name, []).append({**felt, "keys_per_second": DROPPED / seconds})
                say(f"{name}: {DROPPED / seconds:,.0f} keys/s, live p99 {felt['p99']:.2f} ms, max {felt['max']:.1f} ms")
    figures = ("keys_per_second", "p50", "p99", "max")
    medians = {
        name: {figure: round(statistics.median(run[figure] for run in own_runs), 3) for figure in figures}
        for name, own_runs in runs.items()
    }
    ratio = None
    if "redis_cli" in medians:
        ratio = round(medians["mjctl"]["keys_per_second"] / medians["redis_cli"]["keys_per_second"], 2)
    return {"live_ms_and_keys_per_second": medians, "ratio_mjctl_to_redis_cli": ratio}


async def _create_namespaces(port: int) -> None:
    async with Redis(port=port) as redis:
        for name in ("bench", "small"):
            await DistributedCache(redis).invalidate_namespace(name)


async def measure_namespaces(port: int) -> dict[str, Any]:
    """Measure the median time to invalidate a namespace of 1,000 keys and a namespace of 1,000,000 keys."""
    milliseconds: dict[str, list[float]] = {"bench": [], "small": []}
    with SyncRedis(port=port) as redis:
        fill(redis, "bench", "drop", DROPPED)
        fill(redis, "small", "keep", SMALL)
        full = {name: generation(redis, name) for name in milliseconds}
        watched = f"{value_prefix('bench')}{full['bench']}:keep:1"
        client = LiveClient(port, watched)
        async with Redis(port=port) as connection:
            cache = DistributedCache(connection)
            for _ in range(NAMESPACE_RUNS):
                for name, taken in milliseconds.items():
                    start = time.perf_counter()
                    await cache.invalidate_namespace(name)
                    taken.append(1000 * (time.perf_counter() - start))
                    # Restore the old generation of the namespace, which makes the invalidated keys readable again for
                    # the next measurement.
                    redis.set(generation_key(name), full[name])
                    await asyncio.sleep(0.02)
        felt = client.stop()
        redis.flushall()
    medians = {name: round(statistics.median(taken), 3) for name, taken in milliseconds.items()}
    say(f"namespace of 1,000 keys {medians['small']} ms, of 1,000,000 keys {medians['bench']} ms")
    return {"keys_1000_ms": medians["small"], "keys_1000000_ms": medians["bench"], "live_p99_ms": round(felt["p99"], 3)}


async def measure_near(port: int) -> dict[str, Any]:
    """Measure the time and the CPU time (µs) of a read of a hot leaderboard, and the time of an invalidation."""
    figures: dict[str, Any] = {}
    async with Redis(port=port) as redis:
        for name, namespaces in (("redis", []), ("near", ["hot"])):
            cache = DistributedCache(redis, near_namespaces=namespaces)
            await cache.set("hot", "top", LEADERBOARD)
            count = 20_000 if namespaces else 4_000
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(count):
                await cache.get("hot", "top")
            figures[f"{name}_read_cpu_us"] = round(1e6 * (time.process_time() - cpu) / count, 1)
            figures[f"{name}_read_us"] = round(1e6 * (time.perf_counter() - wall) / count, 1)
        taken: dict[str, list[float]] = {"far": [], "near": []}
        for _ in range(NAMESPACE_RUNS):
            for name, milliseconds in taken.items():
                namespace = "hot" if name == "near" else "cold"
                await cache.get(namespace, "top")
                start = time.perf_counter()
                await cache.invalidate(namespace, "top")
                milliseconds.append(1000 * (time.perf_counter() - start))
        figures |= {f"invalidate_{name}_ms": round(statistics.median(values), 2) for name, values in taken.items()}
    say(f"reads: {figures}")
    return figures


def say(text: str) -> None:
    """Print a line about the progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark, and print its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each of the two ways to remove keys by pattern is measured"
    )
    parser.add_argument("--reads", type=int, default=1_000_000, help="minimum number of reads in the consistency test")
    for hidden in ("--role", "--key", "--port"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        live(int(arguments.port), arguments.key)
        return
    folder = Path(tempfile.mkdtemp(prefix="mjctl-bench-"))
    started = time.monotonic()
    try:
        with redis_server(folder) as port:
            with SyncRedis(port=port) as redis:
                info: Any = redis.info("server")
            result: dict[str, Any] = {
                "pattern": measure_patterns(port, arguments.rounds),
                "namespace": asyncio.run(measure_namespaces(port)),
                "near": asyncio.run(measure_near(port)),
                "consistency": {
                    name: measure_consistency(folder, port, arguments.reads, near)
                    for name, near in (("redis", False), ("near", True))
                },
            }
    finally:
        shutil.rmtree(folder)
    result |= {
        "rounds": arguments.rounds,
        "seconds": round(time.monotonic() - started),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "server": f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}",
        "redis_py": version("redis"),
        "redis_cli": _version("redis-cli"),
    }
    print(json.dumps(result))


def _version(program: str) -> str | None:
    if not shutil.which(program):
        return None
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
