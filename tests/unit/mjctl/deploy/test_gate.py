from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mjctl.deploy import gate as module
from mjctl.deploy.gate import Gate
from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.errors import Interrupted
from mjctl.terraform.runner import Cancellation

GOOD, BAD = CheckStatus.PASS, CheckStatus.FAIL


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)


def looking(looks: Sequence[Sequence[CheckStatus]]) -> tuple[list[int], module.CheckRegion]:
    """A look that finds `looks` one after another, then the last for ever."""
    seen: list[int] = []

    async def look(region: str) -> list[CheckResult]:
        found = looks[min(len(seen), len(looks) - 1)]
        seen.append(len(seen))
        return [
            CheckResult(f"check-{number}", region, status, "said", severity=Severity.CRITICAL)
            for number, status in enumerate(found)
        ]

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


async def test_a_good_look_forgets_the_bad_one_before_it() -> None:
    seen, look = looking([[BAD], [GOOD], [BAD], [GOOD]])
    verdict = await watch(Gate(look, soak_seconds=0.2))
    assert verdict.healthy, "two bad looks with a good one between them are two transient errors"
    assert len(seen) >= 4


def found(*kinds: str) -> list[CheckResult]:
    """`pass`, `skip`, `throttled` or `fail`; a trailing `!` makes the check critical."""
    return [
        CheckResult(
            f"check-{number}",
            "us-east-1",
            CheckStatus.WARN if kind.startswith("throttled") else CheckStatus(kind.rstrip("!")),
            "said",
            severity=Severity.CRITICAL if kind.endswith("!") else Severity.MAJOR,
            throttled=kind.startswith("throttled"),
        )
        for number, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (found("skip!", "skip!", "skip"), "none of 2 critical checks was observed"),
        (found("skip!", "pass"), "none of 1 critical checks was observed"),
        (found("throttled!", "pass!"), "check-0: said"),
        (found("throttled!", "throttled"), "check-0: said"),
        ([], "none of 0 critical checks was observed"),
    ],
)
async def test_a_region_that_could_not_be_observed_is_not_healthy(results: list[CheckResult], why: str) -> None:
    looks = []

    async def look(_: str) -> list[CheckResult]:
        looks.append(1)
        return results

    verdict = await watch(Gate(look))
    assert not verdict.healthy
    assert why in str(verdict)
    assert len(looks) == 5, "throttling may pass, so one such look decides nothing"


@pytest.mark.parametrize(
    "results",
    [found("pass!", "skip!", "skip"), found("pass!", "throttled"), found("warn!")],
    ids=["skip", "minor", "w"],
)
async def test_a_region_is_healthy_with_enough_evidence(results: list[CheckResult]) -> None:
    async def look(_: str) -> list[CheckResult]:
        return results

    verdict = await watch(Gate(look))
    assert (verdict.healthy, verdict.looks) == (True, 1)


async def test_throttling_that_passes_is_waited_for() -> None:
    looks = [found("throttled!"), found("throttled!"), found("pass!")]

    async def look(_: str) -> list[CheckResult]:
        return looks.pop(0)

    verdict = await watch(Gate(look))
    assert (verdict.healthy, verdict.looks) == (True, 3)


async def test_a_look_that_proves_nothing_does_not_excuse_a_bad_one() -> None:
    looks = [found("fail!"), found("throttled!"), found("fail!")]

    async def look(_: str) -> list[CheckResult]:
        return looks.pop(0)

    assert not (await watch(Gate(look))).healthy


async def test_a_skipped_check_is_not_counted_among_the_good_ones() -> None:
    said: list[str] = []

    async def look(_: str) -> list[CheckResult]:
        return found("pass!", "skip", "throttled")

    await Gate(look).watch("us-east-1", said.append, Cancellation())
    assert said == ["look 1: 1 of 1 observed checks are good"]


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
