from __future__ import annotations

import io

import pytest
from rich.live import Live

from mjctl.cli.output.console import SafeConsole
from mjctl.cli.output.health import render, screen
from mjctl.health.model import HealthReport
from mjctl.models.check import CheckResult, CheckStatus, Severity


def report() -> HealthReport:
    def check(name: str, region: str, status: CheckStatus, severity: Severity = Severity.MAJOR) -> CheckResult:
        return CheckResult(name, region, status, f"what {name} found", severity=severity)

    well = [check(f"table/{number}", "us-east-1", CheckStatus.PASS) for number in range(30)]
    bad = [
        check("table/players", "eu-west-1", CheckStatus.PASS),
        check("backup", "eu-west-1", CheckStatus.WARN),
        check("alarm", "eu-west-1", CheckStatus.FAIL, Severity.MINOR),
        check("match", "eu-west-1", CheckStatus.FAIL, Severity.CRITICAL),
        check("shield", "eu-west-1", CheckStatus.SKIP),
    ]
    return HealthReport("local", "2026-11-29T12:00:00+00:00", 2.5, (*well, *bad))


def lines(renderable: object, width: int = 80) -> list[str]:
    stream = io.StringIO()
    console = SafeConsole(stream)
    console.print(renderable)
    return stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def test_problems_come_first_and_the_verdict_last() -> None:
    text = lines(render(report()))
    region = text[text.index("local eu-west-1") + 1 :]
    assert [line.split()[:2] for line in region[:5]] == [
        ["FAIL", "match"],
        ["FAIL", "alarm"],
        ["warn", "backup"],
        ["skip", "shield"],
        ["ok", "table/players"],
    ]
    assert text[-1] == "UNHEALTHY  35 checks in 2.5 s: 31 ok, 1 warn, 2 FAIL, 1 skip  12:00:00Z"


def test_the_time_of_a_report_is_never_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    assert lines(render(report()))[-2:] == [
        "UNHEALTHY  35 checks in 2.5 s: 31 ok, 1 warn, 2 FAIL, 1 skip",
        "12:00:00Z",
    ]


def test_the_option_problems_leaves_out_passed_checks_and_counts_them() -> None:
    text = lines(render(report(), problems=True))
    assert "local us-east-1  30 checks ok" in text
    assert "local eu-west-1  1 check ok" in text
    assert not any(line.startswith("ok ") for line in text)
    assert len(text) < 12


def test_a_screen_shows_the_failures_within_its_height() -> None:
    stream = io.StringIO()
    console = SafeConsole(stream)
    text = lines(screen(report(), console))
    assert text[0].startswith("UNHEALTHY")
    assert text[1].startswith("local eu-west-1")
    assert text[2].split()[:2] == ["FAIL", "match"]
    assert len(text) <= 24


def test_a_screen_that_is_high_enough_shows_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "60")
    console = SafeConsole(io.StringIO())
    text = lines(screen(report(), console))
    assert sum(line.startswith("ok ") for line in text) == 31


def test_a_screen_that_is_too_low_even_for_the_problems_keeps_its_upper_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "3")
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    console = SafeConsole(stream)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        live.update(screen(report(), console), refresh=True)
        drawn = stream.getvalue()
    assert "UNHEALTHY" in drawn
    assert "match" in drawn
    assert "shield" not in drawn
