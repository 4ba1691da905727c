from __future__ import annotations

import asyncio

import pytest

from gameserver.client import ApiError
from mjctl.loadtest import players
from mjctl.loadtest.model import LoadTally


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(players, "_RETRY_SECONDS", 0)


async def test_a_call_is_repeated_after_too_many_requests_and_counted() -> None:
    answers = iter([ApiError(429, "too_many_requests", ""), ApiError(429, "too_many_requests", ""), "in"])

    async def call() -> str:
        answer = next(answers)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    tally = LoadTally()
    assert await players.timed(tally, "login", call) == "in"
    assert tally.throttled == 2
    assert len(tally.api_ms["login"]) == 1


async def test_a_call_is_repeated_while_the_region_is_busy() -> None:
    answers = iter([ApiError(503, "busy", "many"), "ticket"])

    async def call() -> str:
        answer = next(answers)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    tally = LoadTally()
    assert await players.timed(tally, "create_match", call) == "ticket"
    assert tally.throttled == 1


@pytest.mark.parametrize("status", [0, 401, 503])
async def test_any_other_error_is_raised_at_once(status: int) -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        raise ApiError(status, "code", "")

    with pytest.raises(ApiError):
        await players.timed(LoadTally(), "login", call)
    assert calls == 1


async def test_a_call_is_not_repeated_without_end() -> None:
    async def call() -> None:
        raise ApiError(429, "too_many_requests", "")

    with pytest.raises(ApiError):
        await asyncio.wait_for(players.timed(LoadTally(), "login", call), 10)


def test_an_error_without_a_text_is_counted_by_its_type() -> None:
    tally = LoadTally()
    players._count(tally, "match", TimeoutError())
    assert dict(tally.errors) == {"match: TimeoutError": 1}
