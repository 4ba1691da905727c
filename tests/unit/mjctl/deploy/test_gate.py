from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mjctl.deploy import gate as module
from mjctl.deploy.gate import Gate
from mjctl.models.check import CheckResult, CheckStatus, Severity
from mjctl.models.deployment import GateVerdict
from mjctl.models.errors import Interrupted
from mjctl.terraform.runner import Cancellation

GOOD, BAD = CheckStatus.PASS, CheckStatus.FAIL


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_PAUSE_AFTER_BAD_SECONDS", 0.0)


def observing(statuses: Sequence[Sequence[CheckStatus]]) -> tuple[list[int], module.CheckRegion]:
    """Return a list of the observations, and a function that returns the items of `statuses` in order.

    The function returns the last item for all further calls.
    """
    observations: list[int] = []

    async def observe(region: str) -> list[CheckResult]:
        current = statuses[min(len(observations), len(statuses) - 1)]
        observations.append(len(observations))
        return [
            CheckResult(f"check-{number}", region, status, "summary", severity=Severity.CRITICAL)
            for number, status in enumerate(current)
        ]

    return observations, observe


async def watch(gate: Gate) -> GateVerdict:
    return await gate.watch("us-east-1", lambda _: None, Cancellation())


async def test_one_good_observation_is_enough_without_a_soak_time() -> None:
    observations, observe = observing([[GOOD, CheckStatus.WARN, CheckStatus.SKIP]])
    assert (await watch(Gate(observe))).healthy
    assert len(observations) == 1


async def test_a_single_bad_observation_is_repeated() -> None:
    observations, observe = observing([[BAD], [GOOD]])
    assert (await watch(Gate(observe))).healthy
    assert len(observations) == 2


async def test_a_region_gets_time_to_start_its_functions_after_a_bad_observation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    _, observe = observing([[BAD], [GOOD]])
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def no_sleep(seconds: float, result: object = None) -> object:
        pauses.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    assert (await watch(Gate(observe))).healthy
    assert pauses == [10.0]


async def test_two_bad_observations_in_a_row_make_a_region_unhealthy() -> None:
    _, observe = observing([[GOOD], [BAD, GOOD], [BAD, GOOD]])
    verdict = await watch(Gate(observe, soak_seconds=60))
    assert not verdict.healthy
    assert verdict.looks == 3
    assert verdict.failing == ("check-0: summary",)
    assert "unhealthy after 3 observations" in str(verdict)


async def test_the_gate_observes_the_region_for_the_whole_soak_time() -> None:
    observations, observe = observing([[GOOD]])
    verdict = await watch(Gate(observe, soak_seconds=0.5))
    assert verdict.healthy
    assert verdict.seconds >= 0.5
    assert len(observations) > 1


async def test_a_region_with_the_allowed_number_of_failures_is_healthy() -> None:
    _, observe = observing([[BAD, BAD, GOOD]])
    assert (await watch(Gate(observe, max_failures=2))).healthy
    assert not (await watch(Gate(observe, max_failures=1))).healthy


async def test_a_good_observation_resets_the_count_of_bad_observations() -> None:
    observations, observe = observing([[BAD], [GOOD], [BAD], [GOOD]])
    verdict = await watch(Gate(observe, soak_seconds=0.2))
    assert verdict.healthy, "two bad observations with a good observation between them are two transient errors"
    assert len(observations) >= 4


def checks(*kinds: str) -> list[CheckResult]:
    """Return a result for each of `kinds`: `pass`, `skip`, `throttled` or `fail`; the suffix `!` means critical."""
    return [
        CheckResult(
            f"check-{number}",
            "us-east-1",
            CheckStatus.WARN if kind.startswith("throttled") else CheckStatus(kind.rstrip("!")),
            "summary",
            severity=Severity.CRITICAL if kind.endswith("!") else Severity.MAJOR,
            throttled=kind.startswith("throttled"),
        )
        for number, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (checks("skip!", "skip!", "skip"), "none of the 2 critical checks was observed"),
        (checks("skip!", "pass"), "none of the 1 critical checks was observed"),
        (checks("throttled!", "pass!"), "check-0: summary"),
        (checks("throttled!", "throttled"), "check-0: summary"),
        ([], "none of the 0 critical checks was observed"),
    ],
)
async def test_a_region_that_could_not_be_observed_is_not_healthy(results: list[CheckResult], why: str) -> None:
    observations = []

    async def observe(_: str) -> list[CheckResult]:
        observations.append(1)
        return results

    verdict = await watch(Gate(observe))
    assert not verdict.healthy
    assert why in str(verdict)
    assert len(observations) == 5, "throttling may end, so the gate repeats an observation without evidence"


@pytest.mark.parametrize(
    "results",
    [checks("pass!", "skip!", "skip"), checks("pass!", "throttled"), checks("warn!")],
    ids=["skip", "minor", "w"],
)
async def test_a_region_is_healthy_with_enough_evidence(results: list[CheckResult]) -> None:
    async def observe(_: str) -> list[CheckResult]:
        return results

    verdict = await watch(Gate(observe))
    assert (verdict.healthy, verdict.looks) == (True, 1)


async def test_the_gate_waits_until_throttling_ends() -> None:
    results = [checks("throttled!"), checks("throttled!"), checks("pass!")]

    async def observe(_: str) -> list[CheckResult]:
        return results.pop(0)

    verdict = await watch(Gate(observe))
    assert (verdict.healthy, verdict.looks) == (True, 3)


async def test_an_observation_without_evidence_does_not_reset_the_count_of_bad_observations() -> None:
    results = [checks("fail!"), checks("throttled!"), checks("fail!")]

    async def observe(_: str) -> list[CheckResult]:
        return results.pop(0)

    assert not (await watch(Gate(observe))).healthy


async def test_skipped_and_throttled_checks_do_not_count_as_passed() -> None:
    lines: list[str] = []

    async def observe(_: str) -> list[CheckResult]:
        return checks("pass!", "skip", "throttled")

    await Gate(observe).watch("us-east-1", lines.append, Cancellation())
    assert lines == ["observation 1: 1 of 1 observed checks pass"]


async def test_an_interrupt_ends_an_observation_that_hangs() -> None:
    async def observe(_: str) -> list[CheckResult]:
        await asyncio.Event().wait()
        return []

    cancellation = Cancellation()
    watching = asyncio.create_task(Gate(observe).watch("us-east-1", lambda _: None, cancellation))
    await asyncio.sleep(0)
    cancellation.event.set()
    with pytest.raises(Interrupted):
        await watching
