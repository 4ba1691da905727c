from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mjctl.deploy import gate as module
from mjctl.deploy.gate import Gate
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.errors import Interrupted
from mjctl.terraform.runner import Cancellation

GOOD, BAD = CheckStatus.PASS, CheckStatus.FAIL


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)


def looking(looks: Sequence[Sequence[CheckStatus]]) -> tuple[list[int], module.Look]:
    """A look that finds `looks` one after another, then the last for ever."""
    seen: list[int] = []

    async def look(region: str) -> list[CheckResult]:
        found = looks[min(len(seen), len(looks) - 1)]
        seen.append(len(seen))
        return [CheckResult(f"check-{number}", region, status, "said") for number, status in enumerate(found)]

    return seen, look


async def watch(gate: Gate) -> module.Verdict:
    return await gate.watch("us-east-1", lambda _: None, Cancellation())


async def test_one_good_look_is_enough_without_a_soak_time() -> None:
    seen, look = looking([[GOOD, CheckStatus.WARN, CheckStatus.SKIP]])
    assert (await watch(Gate(look))).healthy
    assert len(seen) == 1


async def test_one_bad_look_is_looked_at_again() -> None:
    seen, look = looking([[BAD], [GOOD]])
    assert (await watch(Gate(look))).healthy
    assert len(seen) == 2


async def test_two_bad_looks_in_a_row_are_a_verdict() -> None:
    _, look = looking([[GOOD], [BAD, GOOD], [BAD, GOOD]])
    verdict = await watch(Gate(look, soak_seconds=60))
    assert not verdict.healthy
    assert verdict.looks == 3
    assert verdict.failing == ("check-0: said",)
    assert "unhealthy after 3 looks" in str(verdict)


async def test_it_goes_on_looking_for_the_whole_soak_time() -> None:
    seen, look = looking([[GOOD]])
    verdict = await watch(Gate(look, soak_seconds=0.5))
    assert verdict.healthy
    assert verdict.seconds >= 0.5
    assert len(seen) > 1


async def test_as_many_failures_as_allowed_are_healthy() -> None:
    _, look = looking([[BAD, BAD, GOOD]])
    assert (await watch(Gate(look, max_failures=2))).healthy
    assert not (await watch(Gate(look, max_failures=1))).healthy


async def test_an_interrupt_ends_a_look_that_hangs() -> None:
    async def look(_: str) -> list[CheckResult]:
        await asyncio.Event().wait()
        return []

    cancellation = Cancellation()
    watching = asyncio.create_task(Gate(look).watch("us-east-1", lambda _: None, cancellation))
    await asyncio.sleep(0)
    cancellation.event.set()
    with pytest.raises(Interrupted):
        await watching
