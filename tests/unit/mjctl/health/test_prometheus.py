from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from mjctl.health.model import HealthReport
from mjctl.health.prometheus import render
from mjctl.models.check import CheckResult, CheckStatus, Severity


def result(name: str, status: CheckStatus, region: str = "us-east-1", **evidence: object) -> CheckResult:
    return CheckResult(name, region, status, 'said "so"\n', None, 0.25, evidence)


def samples(*results: CheckResult) -> dict[tuple[str, ...], float]:
    report = HealthReport("prod", "2026-11-24T12:00:00+00:00", 1.5, results)
    values = {}
    for family in text_string_to_metric_families(render(report)):
        for sample in family.samples:
            labels = [sample.labels[name] for name in ("region", "check", "figure") if name in sample.labels]
            assert sample.labels["environment"] == "prod"
            values[(sample.name, *labels)] = sample.value
    return values


def test_every_status_is_a_number_that_an_alert_can_compare() -> None:
    values = samples(
        result("a", CheckStatus.PASS),
        result("b", CheckStatus.WARN),
        result("c", CheckStatus.FAIL, "eu-west-1"),
        result("d", CheckStatus.SKIP, "eu-west-1"),
    )
    status = {key[1:]: value for key, value in values.items() if key[0] == "mjctl_health_check_status"}
    assert status == {
        ("us-east-1", "a"): 0,
        ("us-east-1", "b"): 1,
        ("eu-west-1", "c"): 2,
        ("eu-west-1", "d"): -1,
    }
    assert values["mjctl_health_region_status", "us-east-1"] == 1
    assert values["mjctl_health_region_status", "eu-west-1"] == 2
    assert values["mjctl_health_check_duration_seconds", "us-east-1", "a"] == 0.25
    assert values["mjctl_health_started_timestamp_seconds",] == 1795521600
    assert values["mjctl_health_duration_seconds",] == 1.5


def test_only_numbers_of_the_evidence_are_figures() -> None:
    evidence = {"memory_percent": 42.5, "keys": 7, "healthy": True, "zone": "a", "none": None, "list": [1]}
    values = samples(result("redis", CheckStatus.PASS, **evidence))
    figures = {key[3]: value for key, value in values.items() if key[0] == "mjctl_health_figure"}
    assert figures == {"memory_percent": 42.5, "keys": 7}


def test_a_name_with_special_characters_survives() -> None:
    odd = 'table/"odd\\name"'
    assert samples(result(odd, CheckStatus.PASS))["mjctl_health_check_status", "us-east-1", odd] == 0


def test_an_alert_can_select_the_failures_that_players_notice() -> None:
    login = CheckResult("login", "us-east-1", CheckStatus.FAIL, "refused", severity=Severity.CRITICAL)
    text = render(HealthReport("prod", "2026-11-24T12:00:00+00:00", 1.5, (login, result("backup", CheckStatus.FAIL))))
    families = text_string_to_metric_families(text)
    (status,) = [family for family in families if family.name == "mjctl_health_check_status"]
    assert {sample.labels["check"]: sample.labels["severity"] for sample in status.samples} == {
        "login": "critical",
        "backup": "major",
    }
