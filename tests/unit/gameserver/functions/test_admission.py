from __future__ import annotations

import asyncio

import pytest

from gameserver.functions.admission import Admission
from gameserver.functions.http import HttpError


async def test_calls_beyond_the_limit_are_refused_and_the_others_wait() -> None:
    admission = Admission(at_once=2, waiting=3)
    release = asyncio.Event()
    inside = most = done = 0

    async def call() -> None:
        nonlocal inside, most, done
        async with admission:
            inside += 1
            most = max(most, inside)
            await release.wait()
            inside -= 1
            done += 1

    calls = [asyncio.create_task(call()) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(HttpError) as refused:
            await call()
        assert (refused.value.status, refused.value.code) == (503, "busy")
        assert 1 <= int(refused.value.headers()["Retry-After"]) <= 3
    release.set()
    await asyncio.gather(*calls)
    assert (most, done) == (2, 5)
    await call()


async def test_a_cancelled_wait_frees_its_place() -> None:
    admission = Admission(at_once=1, waiting=1)
    async with admission:
        waiting = asyncio.create_task(admission.__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        again = asyncio.create_task(admission.__aenter__())
        await asyncio.sleep(0)
        assert not again.done()
    await again


async def test_a_failed_call_frees_its_place() -> None:
    admission = Admission(at_once=1, waiting=0)
    for _ in range(3):
        with pytest.raises(LookupError):
            async with admission:
                raise LookupError
