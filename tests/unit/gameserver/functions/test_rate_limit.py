from __future__ import annotations

import pytest

from gameserver.functions.http import HttpError
from gameserver.functions.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def allowed(limit: RateLimit, key: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            await limit.take(key)
        except HttpError:
            continue
        count += 1
    return count


async def test_a_burst_is_allowed_and_then_the_rate(clock: Clock) -> None:
    limit = RateLimit("calls", per_second=0.5, burst=5, clock=clock)
    assert await allowed(limit, "a", 20) == 5
    clock.now += 4
    assert await allowed(limit, "a", 20) == 2
    clock.now += 3600
    assert await allowed(limit, "a", 20) == 5


async def test_refused_calls_take_no_tokens(clock: Clock) -> None:
    limit = RateLimit("calls", per_second=1, burst=1, clock=clock)
    assert await allowed(limit, "a", 1000) == 1
    clock.now += 1
    assert await allowed(limit, "a", 1) == 1


async def test_a_refusal_names_the_seconds_to_wait(clock: Clock) -> None:
    limit = RateLimit("calls", per_second=0.1, burst=1, clock=clock)
    await limit.take("a")
    with pytest.raises(HttpError) as caught:
        await limit.take("a")
    assert (caught.value.status, caught.value.retry_after_seconds) == (429, 10)


async def test_each_caller_has_a_separate_limit(clock: Clock) -> None:
    limit = RateLimit("calls", per_second=1, burst=3, clock=clock)
    assert await allowed(limit, "a", 9) == await allowed(limit, "b", 9) == 3


async def test_memory_is_limited_and_busy_callers_are_remembered(clock: Clock) -> None:
    limit = RateLimit("calls", per_second=0.001, burst=2, max_keys=100, clock=clock)
    await allowed(limit, "guesser", 2)
    for number in range(1000):
        await allowed(limit, str(number), 1)
        assert await allowed(limit, "guesser", 1) == 0
    assert len(limit._buckets) == 100
