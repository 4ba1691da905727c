"""Tests that a long sweep continues in the next invocation of the function `ops`, within the limit of its speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gameserver.functions import operations
from gameserver.functions.services import Services

KEYS = 4000


@pytest.fixture
async def services(make_settings: Any) -> AsyncIterator[Services]:
    services = Services(make_settings())
    yield services
    await services.close()


@pytest.fixture
async def big(services: Services) -> AsyncIterator[Redis]:
    """Yield a client of a Redis with 4,000 keys in the namespace `big`, and a key that is not the cache's."""
    async with Redis.from_url(services.settings.cache_url) as redis:
        generation = await services.cache.invalidate_namespace("big")
        pipeline = redis.pipeline(transaction=False)
        for number in range(KEYS):
            pipeline.set(f"cache:{{big}}:{generation}:{number}", b"\x01", ex=300)
        pipeline.set("{m:1}:lease", "server-1:7")
        await pipeline.execute()
        yield redis


async def run_to_the_end(services: Services, command: dict[str, Any]) -> tuple[int, int]:
    """Invoke the command until it is complete. Returns the numbers of removed keys and of invocations."""
    removed = invocations = 0
    while True:
        answer = await operations.run(command, services, seconds=60)
        removed, invocations = removed + answer["removed"], invocations + 1
        if answer["resume_token"] is None:
            return removed, invocations
        command = {**command, "resume_token": answer["resume_token"]}
        await asyncio.sleep(answer["rest_seconds"])


async def test_a_sweep_is_continued_by_its_token(services: Services, big: Redis) -> None:
    command = {"command": "invalidate_pattern", "pattern": "big:*", "max_keys_per_second": 4000, "seconds": 0.2}
    start = time.monotonic()
    removed, invocations = await run_to_the_end(services, command)
    assert (removed, await big.keys("cache:{big}:*")) == (KEYS, [])
    assert invocations > 1
    assert KEYS / (time.monotonic() - start) < 6000


async def test_each_invocation_makes_progress_in_a_very_short_time(services: Services, big: Redis) -> None:
    """Test with a limit of keys per second at which the pause after a step is longer than an invocation."""
    command = {"command": "invalidate_pattern", "pattern": "big:*", "max_keys_per_second": 1, "seconds": 0.01}
    first = await operations.run(command, services, seconds=60)
    assert 0 < first["removed"] < KEYS
    assert first["rest_seconds"] == pytest.approx(first["removed"], rel=0.1)
    second = await operations.run({**command, "resume_token": first["resume_token"]}, services, seconds=60)
    assert second["removed"] > 0
    assert len(await big.keys("cache:{big}:*")) == KEYS - first["removed"] - second["removed"]


async def test_a_flush_makes_all_keys_unreadable_at_once_and_frees_their_memory_in_steps(
    services: Services, big: Redis
) -> None:
    await services.cache.set("profile", "p1", 1)
    first = await operations.run({"command": "flush", "seconds": 0.0001}, services, seconds=60)
    assert first["resume_token"] is not None
    assert await services.cache.get("profile", "p1") is None
    await services.cache.set("profile", "p1", 2)
    rest, _ = await run_to_the_end(services, {"command": "flush", "resume_token": first["resume_token"]})
    assert first["removed"] + rest == KEYS + 1
    # A flush does not remove a value that was written after the flush began.
    assert await services.cache.get("profile", "p1") == 2
    assert await big.get("{m:1}:lease") == b"server-1:7"


@pytest.mark.parametrize(
    "command",
    [
        {"command": "drain", "server_id": "x:1"},
        {"command": "hot_keys", "seconds": 0},
        {"command": "flush", "resume_token": "nonsense"},
        {"command": "invalidate_pattern", "pattern": ""},
        {"command": "get", "namespace": "profile", "key": "p1"},
    ],
)
async def test_an_invalid_command_is_refused(services: Services, command: dict[str, Any]) -> None:
    answer = await operations.run(command, services, seconds=60)
    assert answer["error"]["code"] == "invalid_request"
