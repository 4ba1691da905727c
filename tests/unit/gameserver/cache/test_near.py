from __future__ import annotations

import pytest

from gameserver.cache import near
from gameserver.cache.near import LEASE_SECONDS, OUTLIVE_SECONDS, NearCache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(near, "clock", clock)
    return clock


@pytest.fixture
def cache(clock: Clock) -> NearCache:
    return NearCache(["hot"], max_bytes=100)


def keep(cache: NearCache, key: str, payload: bytes | None, token: bytes, at: float, ttl_ms: int = 60_000) -> None:
    cache.keep("hot", key, payload, ttl_ms=ttl_ms, token=token, asked_at=at)


def test_a_value_is_answered_under_its_lease_only(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", b"1", b"t", clock.now)
    assert cache.get("hot", "a") == b"1"
    assert cache.get("hot", "b") is None
    assert cache.get("cold", "a") is None
    clock.now += LEASE_SECONDS
    assert cache.get("hot", "a") is None


def test_a_lease_begins_when_the_command_is_sent(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", b"1", b"t", clock.now - LEASE_SECONDS)
    assert cache.get("hot", "a") is None


def test_an_invalidation_waits_longer_than_a_lease() -> None:
    assert OUTLIVE_SECONDS >= 1.1 * LEASE_SECONDS


def test_a_new_lease_with_the_same_token_makes_all_values_valid_again(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", b"1", b"t", clock.now)
    clock.now += 1
    keep(cache, "b", b"2", b"t", clock.now)
    assert cache.get("hot", "a") == b"1"


def test_a_new_token_drops_all_values(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", b"1", b"t", clock.now)
    keep(cache, "b", b"2", b"u", clock.now)
    assert cache.get("hot", "a") is None
    assert cache.get("hot", "b") == b"2"


def test_a_late_answer_lives_no_longer_than_its_own_lease(cache: NearCache, clock: Clock) -> None:
    asked_at = clock.now
    clock.now += LEASE_SECONDS / 2
    keep(cache, "a", b"new", b"u", clock.now)
    keep(cache, "a", b"old", b"t", asked_at)
    clock.now = asked_at + LEASE_SECONDS
    assert cache.get("hot", "a") is None


def test_a_value_expires_with_its_time_to_live_in_redis_or_after_some_seconds(cache: NearCache, clock: Clock) -> None:
    start = clock.now
    keep(cache, "short", b"1", b"t", start, ttl_ms=20)
    keep(cache, "long", b"2", b"t", start)
    clock.now = start + 0.021
    keep(cache, "other", b"3", b"t", clock.now)
    assert cache.get("hot", "short") is None
    assert cache.get("hot", "long") == b"2"
    clock.now = start + 6
    keep(cache, "other", b"3", b"t", clock.now)
    assert cache.get("hot", "long") is None


def test_a_value_that_redis_does_not_have_any_more_is_dropped(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", b"1", b"t", clock.now)
    keep(cache, "a", None, b"t", clock.now)
    assert cache.get("hot", "a") is None


def test_memory_is_limited_and_the_least_recently_used_value_is_dropped_first(cache: NearCache, clock: Clock) -> None:
    keep(cache, "a", bytes(40), b"t", clock.now)
    keep(cache, "b", bytes(40), b"t", clock.now)
    assert cache.get("hot", "a")
    keep(cache, "c", bytes(40), b"t", clock.now)
    assert [key for key in "abc" if cache.get("hot", key)] == ["a", "c"]
    keep(cache, "a", bytes(101), b"t", clock.now)
    keep(cache, "d", bytes(60), b"t", clock.now)
    assert [key for key in "abcd" if cache.get("hot", key)] == ["c", "d"]
