"""Walking the keyspace beside a live game: a script that scans and unlinks a little, paced by the latency it causes.

SCAN visits every key of the server at about 1 us each, UNLINK takes twice that, and nothing else runs meanwhile: what
one step may do is the longest pause that it causes. Steps follow each other at once while a PING beside them stays
quick, and with growing pauses when it does not. One step is under way at a time, so that on a machine of few cores
either the server or the sweep needs one, never both.
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

# The work of one step, in keys looked at: a third of a millisecond of the server's time, which is this many keys on
# Redis 7 and twice that on Valkey 9. 10,000 and more stall live clients by 20 ms and up (measured).
SCAN_COUNT, _MAX_SCAN_COUNT = 350, 700
_STEP_SECONDS = 0.00035
# One SCAN of a step. It cannot be cut short, whether it finds no key to remove or as many as it looks at.
_BATCH = 115
_PROBE_INTERVAL_SECONDS = 0.01
_CALIBRATION_PROBES = 5
# What a live client may feel before the sweep slows down: this, or three times what it feels between our steps. A
# machine that is busy with something else answers late all the time, and going slower would not help.
_TOLERATED_SECONDS = 0.002
_TOLERATED_FACTOR = 3.0
# With the longest pause the sweep has one twentieth of the server's time, and there is no point in going slower still.
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.001, 0.01
_MAX_PROBES_KEPT = 10_000


@dataclass
class Pace:
    """Adapts the pause between two steps to probes of the server's latency, and holds a limit of keys a second."""

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
        self._between.extend([await self._timed("PING") for _ in range(_CALIBRATION_PROBES)])
        # At a place of its own each, odd numbers lie far apart: what was just looked at is in the processor's cache.
        places = range(1, 2 * _CALIBRATION_PROBES, 2)
        scans = [await self._timed("SCAN", place, "MATCH", "", "COUNT", SCAN_COUNT) for place in places]
        # The quickest of each: what the server itself takes, without what else the machine does.
        a_scan = max(1e-6, min(scans) - min(self._between))
        self.scan_count = int(min(_MAX_SCAN_COUNT, max(SCAN_COUNT, SCAN_COUNT * _STEP_SECONDS / a_scan)))
        self._began_at = time.monotonic()

    async def step(self, work: Any) -> Any:
        """Await `work`, a command not yet sent, with a probe beside it when one is due."""
        if time.monotonic() - self._probed_at < _PROBE_INTERVAL_SECONDS:
            return await work
        self._probed_at = time.monotonic()
        # In this order: the probe has to queue behind our command, as a live client's command would.
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
        """Seconds to wait after a step that dealt with `keys` keys."""
        self._keys += keys
        pause = self._pause
        if self.max_keys_per_second:
            due_at = self._began_at + self._keys / self.max_keys_per_second
            pause = max(pause, due_at - time.monotonic())
        return max(0.0, pause)

    def percentile_ms(self, fraction: float) -> float:
        ordered = sorted(self.probes)
        return 1000 * ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0

    async def _timed(self, *command: Any) -> float:
        start = time.perf_counter()
        await self.redis.execute_command(*command)
        return time.perf_counter() - start


@dataclass
class Sweep:
    """Walks over the keys that match globs, and counts over all of them.

    `remove`: UNLINK what is found, else only count it.
    """

    redis: RedisClient
    pace: Pace
    remove: bool
    scanned: int = 0
    removed: int = 0
    # SCAN may name a key twice while the table is resized; a removed key counts once by UNLINK's own answer.
    _counted: set[int] = field(default_factory=set)

    @property
    def matched(self) -> int:
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
        """Walk from `cursor` (0: the beginning) to the end. `before`: only keys of generations before this one.

        `on_step(cursor)` is told after each step where a later walk would have to begin to miss nothing. After `until`,
        by time.monotonic(), no further step is begun, but the one before is finished, so that however short the time
        is each walk gets on.
        """
        step = self.redis.register_script(scripts.SWEEP)
        how = [match, self.pace.scan_count, _BATCH, "" if before is None else before, int(self.remove)]
        while True:
            next_cursor, scanned, removed, found = await self.pace.step(step(args=[cursor, *how]))
            self.scanned += scanned
            self.removed += removed
            self._counted.update(map(hash, found))
            on_step(int(next_cursor) or cursor)
            cursor = int(next_cursor)
            if cursor == 0:
                return None
            pause = self.pace.pause_after(removed or len(found))
            if time.monotonic() + pause >= until:
                return Stop(cursor, pause)
            # Also a pause of nothing lets other tasks of this process run.
            await asyncio.sleep(pause)


@dataclass(frozen=True)
class Stop:
    """Where a walk whose time was up would have to go on, and how long it would have paused before."""

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
    """Sweep `walks`, which are (namespace, glob over physical keys) in the order of the namespaces.

    `before(namespace)`: only keys of generations before the one that it answers.

    Raises:
        InvalidName: malformed resume token.
    """
    start = time.monotonic()
    first, cursor = _parse_resume_token(resume_token)
    walks = [one for one in walks if one[0] >= first]
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
    """Yield batches of keys that match `match`, each key once or, while the table is resized, more often."""
    cursor = 0
    while True:
        cursor_bytes, keys = await redis.execute_command("SCAN", cursor, "MATCH", match, "COUNT", SCAN_COUNT)
        if keys:
            yield keys
        cursor = int(cursor_bytes)
        if cursor == 0:
            return


async def describe(redis: RedisClient, batch: Sequence[bytes], sizes: bool) -> list[CacheKey]:
    """Time to live and, with `sizes`, memory of a batch of physical keys; without keys that ended since the scan."""
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
