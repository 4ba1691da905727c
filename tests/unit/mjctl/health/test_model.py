from __future__ import annotations

import pytest

from mjctl.cli.output.documents.observe import health_fields
from mjctl.health.model import HealthReport, Thresholds, graded, worst
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.errors import UsageError


@pytest.mark.parametrize(
    ("value", "status"),
    [(0, CheckStatus.PASS), (9.9, CheckStatus.PASS), (10, CheckStatus.WARN), (20, CheckStatus.FAIL)],
)
def test_a_value_equal_to_a_threshold_has_the_worse_status(value: float, status: CheckStatus) -> None:
    assert graded(value, warn=10, fail=20) is status


def test_the_worst_of_several_statuses_is_returned() -> None:
    assert worst(()) is CheckStatus.PASS
    assert worst((CheckStatus.SKIP, CheckStatus.WARN, CheckStatus.PASS)) is CheckStatus.WARN


def test_overrides_change_only_the_named_thresholds() -> None:
    bounds = Thresholds().with_overrides(["queue_depth_warn=5", "restart_window_seconds=2.5"])
    assert (bounds.queue_depth_warn, bounds.restart_window_seconds) == (5, 2.5)
    assert bounds.queue_depth_fail == Thresholds().queue_depth_fail


@pytest.mark.parametrize("setting", ["nosuch=1", "queue_depth_warn", "queue_depth_warn=many"])
def test_an_unknown_threshold_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError):
        Thresholds().with_overrides([setting])


def test_the_document_contains_every_finding_with_its_region() -> None:
    results = (
        CheckResult("redis", "us-east-1", CheckStatus.PASS, "fine", evidence={"role": "master"}),
        CheckResult("redis", "eu-west-1", CheckStatus.FAIL, "down", hint="look"),
    )
    document = health_fields(HealthReport("local", "2030-01-01T00:00:00+00:00", 1.23456, results))
    assert document["healthy"] is False
    assert document["counts"] == {"pass": 1, "warn": 0, "fail": 1, "skip": 0}
    assert document["regions"] == [
        {"region": "us-east-1", "status": "pass"},
        {"region": "eu-west-1", "status": "fail"},
    ]
    assert [(check["region"], check["name"], check["hint"]) for check in document["checks"]] == [
        ("us-east-1", "redis", None),
        ("eu-west-1", "redis", "look"),
    ]


PASS, WARN, FAIL, SKIP = CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL, CheckStatus.SKIP


@pytest.mark.parametrize(
    ("observations", "healthy", "unobserved"),
    [
        ([("a", PASS, False), ("a", SKIP, False)], True, ()),
        ([("a", WARN, False)], True, ()),
        ([("a", PASS, False), ("a", FAIL, False)], False, ()),
        ([("a", SKIP, False), ("a", SKIP, False)], False, ("a",)),
        ([("a", WARN, True)], False, ("a",)),
        ([("a", PASS, False), ("b", SKIP, False)], False, ("b",)),
        ([], False, ()),
    ],
)
def test_a_region_that_was_not_observed_is_not_healthy(
    observations: list[tuple[str, CheckStatus, bool]], healthy: bool, unobserved: tuple[str, ...]
) -> None:
    results = tuple(
        CheckResult("x", region, status, "said", throttled=throttled) for region, status, throttled in observations
    )
    report = HealthReport("prod", "2026-11-29T12:00:00+00:00", 0.1, results)
    assert (report.healthy, health_fields(report)["healthy"], report.unobserved) == (healthy, healthy, unobserved)
