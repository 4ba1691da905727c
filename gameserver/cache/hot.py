"""Which keys are read most, without MONITOR: that is an administrator's command, and it halves the server's speed.

Redis keeps for each key when it was last used (to the second), or how often where its eviction policy is one of the LFU
kind. Every key, or a sample of a large keyspace, is asked once; those in use are then asked once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gameserver.cache import sweep
from gameserver.cache.client import RedisClient
from gameserver.cache.keys import split_value_key
from gameserver.cache.stats import EXACT_LIMIT, windows

_CANDIDATES: Final = 1000
_IN_USE_SECONDS: Final = 1
# Redis keeps the last use in whole seconds of its clock, so idle times jump when a second begins: right after that, a
# key that is read ten times a second has been idle for "one second". Late in a second only keys unused since it began
# show an idle time. The rest of the second is slack for a look that comes late.
_LOOK_AT: Final = 0.75
_SHORTEST_WAIT_SECONDS: Final = 0.1


@dataclass(frozen=True)
class HotKey:
    """`busy_seconds`: in how many of the seconds watched it was used. `frequency`: Redis's own logarithmic counter,
    0 to 255, where its policy keeps one."""

    name: str
    busy_seconds: int
    frequency: int | None


@dataclass(frozen=True)
class HotKeys:
    """The busiest first. `missed_percent`: of the keys, so many were not looked at, and may be hot."""

    keys: tuple[HotKey, ...]
    seconds: int
    sampled_keys: int
    total_keys: int

    @property
    def missed_percent(self) -> float:
        return max(0.0, 100 * (1 - self.sampled_keys / self.total_keys)) if self.total_keys else 0.0


async def measure(redis: RedisClient, *, seconds: int, limit: int) -> HotKeys:
    """Watch for `seconds` and return the `limit` busiest keys of the cache."""
    total = int(await redis.execute_command("DBSIZE"))
    sampled: set[bytes] = set()
    idle: dict[bytes, int] = {}
    async for batch in _batches(redis, total):
        fresh = [key for key in batch if key not in sampled]
        sampled.update(fresh)
        ours = [key for key in fresh if split_value_key(key)]
        idle |= await _ask(redis, "IDLETIME", ours)
    # A policy of the LFU kind keeps no idle times: the server refuses that question, and answers the other.
    frequencies = {} if idle else await _ask(redis, "FREQ", [key for key in sampled if split_value_key(key)])
    candidates = sorted(idle, key=idle.__getitem__)[:_CANDIDATES]
    busy = dict.fromkeys(candidates, 0)
    for _ in range(seconds if idle else 0):
        await _late_in_a_second(redis)
        for key, left in (await _ask(redis, "IDLETIME", candidates)).items():
            busy[key] += left < _IN_USE_SECONDS
    scores = frequencies or busy
    best = sorted((key for key in scores if scores[key]), key=lambda key: (-scores[key], key))[:limit]
    return HotKeys(
        tuple(HotKey(_name(key), busy.get(key, 0), frequencies.get(key)) for key in best),
        seconds if idle else 0,
        len(sampled),
        total,
    )


async def _late_in_a_second(redis: RedisClient) -> None:
    """Sleep until the next second of the server's clock is nearly over, about a second after the look before."""
    _, microseconds = await redis.execute_command("TIME")
    wait = (_LOOK_AT - int(microseconds) / 1e6) % 1
    await asyncio.sleep(wait if wait >= _SHORTEST_WAIT_SECONDS else wait + 1)


def _batches(redis: RedisClient, total: int) -> AsyncIterator[list[bytes]]:
    return sweep.scan(redis, "*") if total <= EXACT_LIMIT else windows(redis)


async def _ask(redis: RedisClient, question: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    """The answers of the keys that still exist; none where the server's policy does not keep what is asked for."""
    if not keys:
        return {}
    pipeline = redis.pipeline(transaction=False)
    for key in keys:
        pipeline.execute_command("OBJECT", question, key)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return {key: answer for key, answer in zip(keys, answers, strict=True) if isinstance(answer, int)}


def _name(physical: bytes) -> str:
    namespace, _, key = split_value_key(physical) or ("", "", "")
    return f"{namespace}:{key}"
