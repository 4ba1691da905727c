"""Finds the keys that servers read most, without the command MONITOR.

MONITOR needs administrator rights and halves the speed of Redis. With an LFU eviction policy, Redis itself counts the
uses of each key. Without an LFU eviction policy, Redis records the time of the last use of each key in whole seconds.
This module first reads the last use, or the count of uses, of every key, or of a sample if Redis has more than 20,000
keys. Without an LFU eviction policy, the module then reads the last use of the 1,000 most recently used keys again,
once a second.
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
# The idle times of the keys are read once in each second of Redis' clock, 0.75 s after the second begins. Redis keeps
# the last use of a key in whole seconds, so the idle time of a key grows when a second begins. At the beginning of a
# second, a key that is read ten times a second seems to be idle for "one second". Late in a second, the idle time of a
# key is above 0 only if no server has used the key in this second. A measurement that starts up to 0.25 s late still
# reads the idle times within the second for which the measurement was planned.
_MEASURE_AT: Final = 0.75
_SHORTEST_WAIT_SECONDS: Final = 0.1


@dataclass(frozen=True)
class HotKey:
    """Describes how often servers read a key.

    Attributes:
        name: the key as `<namespace>:<key>`.
        busy_seconds: number of observed seconds in which the key was used, or 0 if Redis has an LFU eviction policy.
        frequency: Redis' logarithmic counter of uses, 0 to 255, or None if Redis has no LFU eviction policy.
    """

    name: str
    busy_seconds: int
    frequency: int | None


@dataclass(frozen=True)
class HotKeys:
    """Holds the result of a measurement of the keys in use.

    Attributes:
        keys: the keys that servers read most, the busiest first.
        seconds: number of observed seconds, 0 if Redis has an LFU eviction policy.
        sampled_keys: number of keys in Redis that were examined.
        total_keys: number of all keys in Redis.
    """

    keys: tuple[HotKey, ...]
    seconds: int
    sampled_keys: int
    total_keys: int

    @property
    def missed_percent(self) -> float:
        """Return the percentage of keys, 0 to 100, that were not examined. A hot key may be among the unexamined
        keys."""
        return max(0.0, 100 * (1 - self.sampled_keys / self.total_keys)) if self.total_keys else 0.0


async def measure(redis: RedisClient, *, seconds: int, limit: int) -> HotKeys:
    """Watch Redis for `seconds`, and return at most `limit` of the busiest keys of the cache."""
    total = int(await redis.execute_command("DBSIZE"))
    sampled: set[bytes] = set()
    idle: dict[bytes, int] = {}
    async for batch in _batches(redis, total):
        fresh = [key for key in batch if key not in sampled]
        sampled.update(fresh)
        ours = [key for key in fresh if split_value_key(key)]
        idle |= await _ask(redis, "IDLETIME", ours)
    # With an LFU eviction policy Redis keeps no idle times, so OBJECT IDLETIME fails and OBJECT FREQ succeeds.
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
    """Sleep until 0.75 s after a full second of Redis' clock, about a second after the last measurement."""
    _, microseconds = await redis.execute_command("TIME")
    wait = (_MEASURE_AT - int(microseconds) / 1e6) % 1
    await asyncio.sleep(wait if wait >= _SHORTEST_WAIT_SECONDS else wait + 1)


def _batches(redis: RedisClient, total: int) -> AsyncIterator[list[bytes]]:
    return sweep.scan(redis, "*") if total <= EXACT_LIMIT else windows(redis)


async def _ask(redis: RedisClient, question: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Call OBJECT `question` for each key, and return the numbers by key.

    A key that does not exist any more is left out.

    The result is empty if Redis' eviction policy does not keep the numbers for `question`.
    """
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
