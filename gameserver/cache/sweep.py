"""Sweeps over all keys of a Redis that serves a live game, in small steps that adapt to the latency of Redis.

A step is a Lua script that scans some keys and removes those that match. SCAN takes about 1 us for each key, and UNLINK
about 2 us. Redis runs no other command during a step, so the work of a step limits the pause of the game's commands.

The sweep measures the latency of Redis by a PING beside a step. While a PING beside a step is fast, steps follow each
other without a pause. While a PING beside a step is slow, the pauses between steps grow. Only one step runs at a time,
so that Redis and the sweep do not use two processor cores at the same time on a small machine.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from gameserver.cache import scripts
from gameserver.cache.client import RedisClient
from gameserver.cache.keys import CacheKey, InvalidName, PatternResult, SweepProgress, check_namespace, split_value_key

# Smallest and largest number of keys that a step of a sweep examines. A step shall take a third of a millisecond of
# Redis' time, which is enough for 350 keys on Redis 7 and for 700 keys on Valkey 9. A step of 10,000 keys or more stops
# other clients for 20 ms or more (measured).
SCAN_COUNT, _MAX_SCAN_COUNT = 350, 700
_STEP_SECONDS = 0.00035
# Number of keys that each SCAN inside a step examines. A step cannot end before it has removed all matching keys of a
# SCAN, so a SCAN examines only a third of the keys of a step.
_BATCH = 115
_PROBE_INTERVAL_SECONDS = 0.01
_CALIBRATION_PROBES = 5
# The sweep slows down if a PING beside a step takes longer than 2 ms and longer than three times a PING between steps.
# On a machine that is busy with other work, a PING between steps is slow too, and a slower sweep would not make Redis
# faster.
_TOLERATED_SECONDS = 0.002
_TOLERATED_FACTOR = 3.0
# With the longest pause, 10 ms, the sweep uses less than one twentieth of Redis' time. A longer pause would make the
# sweep slower, but would not make the commands of the game noticeably faster.
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.001, 0.01
_MAX_PROBES_KEPT = 10_000


@dataclass
class Pace:
    """Computes the pause between two steps from the latency of Redis and from a limit of keys per second.

    Attributes:
        redis: the client whose latency is measured.
        max_keys_per_second: most keys to remove or count per second; None for no limit.
        probes: round trips of a PING beside a step, in seconds.
        scan_count: number of keys that a step examines.
    """

    redis: RedisClient
    max_keys_per_second: float | None = None
    probes: list[float] = field(default_factory=list)
    scan_count: int = SCAN_COUNT
    _pause: float = 0.0
    _beside: deque[float] = field(default_factory=lambda: deque(maxlen=_CALIBRATION_PROBES))
    _between: deque[float] = field(default_factory=lambda: deque(maxlen=_CALIBRATION_PROBES))
    _probed_at: float = 0.0
    _began_at: float = 0.0
    _keys: int = 0

    async def calibrate(self) -> None:
        """Measure the speed of Redis, and set the number of keys that a step examines."""
        self._between.extend([await self._timed("PING") for _ in range(_CALIBRATION_PROBES)])
        # Each SCAN of the calibration has another cursor, because a second SCAN of the same keys would find them in the
        # processor's cache and look too fast. Odd cursors are far apart in Redis' table.
        places = range(1, 2 * _CALIBRATION_PROBES, 2)
        scans = [await self._timed("SCAN", place, "MATCH", "", "COUNT", SCAN_COUNT) for place in places]
        # The shortest round trip shows the time of Redis alone, without the delay by other work of the machine.
        a_scan = max(1e-6, min(scans) - min(self._between))
        self.scan_count = int(min(_MAX_SCAN_COUNT, max(SCAN_COUNT, SCAN_COUNT * _STEP_SECONDS / a_scan)))
        self._began_at = time.monotonic()

    async def step(self, work: Any) -> Any:
        """Send a command and return its answer. If the last PING is at least 10 ms old, send a PING beside the command.

        Args:
            work: an awaitable that sends the command when it is awaited.
        """
        if time.monotonic() - self._probed_at < _PROBE_INTERVAL_SECONDS:
            return await work
        self._probed_at = time.monotonic()
        # The PING is sent after the command, so it waits for the command as the game's commands do.
        answer, felt = await asyncio.gather(work, self._timed("PING"))
        if len(self.probes) < _MAX_PROBES_KEPT:
            self.probes.append(felt)
        self._beside.append(felt)
        self._between.append(await self._timed("PING"))
        if median(self._beside) > max(_TOLERATED_SECONDS, _TOLERATED_FACTOR * median(self._between)):
            self._pause = min(_MAX_PAUSE_SECONDS, max(_MIN_PAUSE_SECONDS, self._pause * 2))
        else:
            self._pause = self._pause / 2 if self._pause > _MIN_PAUSE_SECONDS else 0.0
        return answer

    def pause_after(self, keys: int) -> float:
        """Return the seconds to wait after a step that removed or matched `keys` keys."""
        self._keys += keys
        pause = self._pause
        if self.max_keys_per_second:
            due_at = self._began_at + self._keys / self.max_keys_per_second
            pause = max(pause, due_at - time.monotonic())
        return max(0.0, pause)

    def percentile_ms(self, fraction: float) -> float:
        """Return a percentile of the probes in milliseconds, for example the median for 0.5; 0 without probes."""
        ordered = sorted(self.probes)
        return 1000 * ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0

    async def _timed(self, *command: Any) -> float:
        start = time.perf_counter()
        await self.redis.execute_command(*command)
        return time.perf_counter() - start


@dataclass
class Sweep:
    """Removes or counts the keys that match globs. `scanned` and `removed` count the keys of all calls of `run`.

    Attributes:
        redis: the client.
        pace: decides the pauses between steps.
        remove: True to remove the keys that match, False to count them.
        scanned: number of examined keys.
        removed: number of removed keys.
    """

    redis: RedisClient
    pace: Pace
    remove: bool
    scanned: int = 0
    removed: int = 0
    # SCAN may return a key twice while Redis resizes its table. So a dry run keeps the hash value of each counted key,
    # and counts a key only once. A sweep that removes keys counts them by
    # the answers of UNLINK.
    _counted: set[int] = field(default_factory=set)

    @property
    def matched(self) -> int:
        """Return the number of keys that match."""
        return self.removed if self.remove else len(self._counted)

    async def run(
        self,
        match: str,
        *,
        cursor: int,
        on_step: Callable[[int], None],
        before: int | None = None,
        until: float = math.inf,
    ) -> Stop | None:
        """Sweep over the keyspace from a cursor to the end.

        Args:
            match: glob over physical keys.
            cursor: cursor of SCAN at which the sweep begins; 0 is the beginning of the keyspace.
            on_step: receives after each step the cursor from which another sweep can continue without missing a key.
            before: number of a generation, so that only keys of earlier generations match; None for keys of any
                generation.
            until: time of `time.monotonic()` after which no further step starts; the first step always runs.

        Returns:
            None if the sweep reached the end of the keyspace, else the place where another call continues.
        """
        step = self.redis.register_script(scripts.SWEEP)
        arguments = [match, self.pace.scan_count, _BATCH, "" if before is None else before, int(self.remove)]
        while True:
            next_cursor, scanned, removed, matching = await self.pace.step(step(args=[cursor, *arguments]))
            self.scanned += scanned
            self.removed += removed
            self._counted.update(map(hash, matching))
            on_step(int(next_cursor) or cursor)
            cursor = int(next_cursor)
            if cursor == 0:
                return None
            pause = self.pace.pause_after(removed or len(matching))
            if time.monotonic() + pause >= until:
                return Stop(cursor, pause)
            # A pause of 0 s also lets other tasks of this process run.
            await asyncio.sleep(pause)


@dataclass(frozen=True)
class Stop:
    """Says where to continue a sweep that stopped because its time was over.

    Attributes:
        cursor: cursor of SCAN to continue from.
        rest_seconds: seconds to wait before the next step.
    """

    cursor: int
    rest_seconds: float


async def walk(
    redis: RedisClient,
    pattern: str,
    walks: Sequence[tuple[str, str]],
    *,
    remove: bool = True,
    before: Callable[[str], Awaitable[int]] | None = None,
    on_progress: Callable[[SweepProgress], None] | None = None,
    max_keys_per_second: float | None = None,
    resume_token: str | None = None,
    stop_after_seconds: float | None = None,
) -> PatternResult:
    """Sweep over several namespaces.

    Args:
        redis: the client.
        pattern: the caller's glob, which is copied to the result.
        walks: (namespace, glob over physical keys) for each namespace, sorted by namespace.
        remove: True to remove the keys that match, False to count them.
        before: returns a generation of a namespace, so that only keys of earlier generations match.
        on_progress: receives the progress after each step.
        max_keys_per_second: most keys to remove or count per second; None for no limit.
        resume_token: token that an earlier sweep reported, to continue that sweep.
        stop_after_seconds: time after which the sweep stops with a `resume_token` in the result.

    Raises:
        InvalidName: the resume token is not valid.
    """
    start = time.monotonic()
    first, cursor = _parse_resume_token(resume_token)
    walks = [(namespace, match) for namespace, match in walks if namespace >= first]
    pace = Pace(redis, max_keys_per_second)
    await pace.calibrate()
    total = len(walks) * int(await redis.execute_command("DBSIZE"))
    sweep = Sweep(redis, pace, remove)
    until = start + stop_after_seconds if stop_after_seconds else math.inf
    token, rest_seconds = None, 0.0

    def report(namespace: str, at: int) -> None:
        if on_progress is not None:
            counts = min(sweep.scanned, total), total, sweep.matched, sweep.removed
            on_progress(SweepProgress(namespace, *counts, time.monotonic() - start, f"{namespace}:{at}"))

    for namespace, match in walks:
        stop = await sweep.run(
            match,
            cursor=cursor if namespace == first else 0,
            on_step=partial(report, namespace),
            before=await before(namespace) if before is not None else None,
            until=until,
        )
        if stop is not None:
            token, rest_seconds = f"{namespace}:{stop.cursor}", stop.rest_seconds
            break
    return PatternResult(
        pattern=pattern,
        namespaces=tuple(namespace for namespace, _ in walks),
        dry_run=not remove,
        scanned=min(sweep.scanned, total),
        matched=sweep.matched,
        removed=sweep.removed,
        seconds=time.monotonic() - start,
        probe_p50_ms=pace.percentile_ms(0.5),
        probe_p99_ms=pace.percentile_ms(0.99),
        total=total,
        resume_token=token,
        rest_seconds=rest_seconds,
    )


def _parse_resume_token(token: str | None) -> tuple[str, int]:
    if token is None:
        return "", 0
    namespace, _, cursor = token.rpartition(":")
    if not cursor.isdecimal():
        raise InvalidName("malformed resume token")
    return check_namespace(namespace), int(cursor)


async def scan(redis: RedisClient, match: str) -> AsyncIterator[list[bytes]]:
    """Yield batches of keys that match a glob over physical keys.

    A key may appear twice while Redis resizes its table.
    """
    cursor = 0
    while True:
        cursor_bytes, keys = await redis.execute_command("SCAN", cursor, "MATCH", match, "COUNT", SCAN_COUNT)
        if keys:
            yield keys
        cursor = int(cursor_bytes)
        if cursor == 0:
            return


async def describe(redis: RedisClient, batch: Sequence[bytes], sizes: bool) -> list[CacheKey]:
    """Read the time to live of each key in a batch of physical keys.

    Keys that have expired since the scan are left out.

    Args:
        redis: the client.
        batch: physical keys.
        sizes: also measure the memory of each key.
    """
    pipeline = redis.pipeline(transaction=False)
    for physical in batch:
        pipeline.execute_command("PTTL", physical)
        if sizes:
            pipeline.execute_command("MEMORY USAGE", physical)
    answers = await pipeline.execute()
    ttls = answers[::2] if sizes else answers
    bytes_used = answers[1::2] if sizes else [None] * len(batch)
    entries = []
    for physical, left, size in zip(batch, ttls, bytes_used, strict=True):
        name = split_value_key(physical)
        if left != -2 and name is not None:
            namespace, _, key = name
            entries.append(CacheKey(namespace, key, left / 1000 if left >= 0 else None, size))
    return entries
