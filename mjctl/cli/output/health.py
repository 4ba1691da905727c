"""Text output of `mjctl health`: problems first, then the advice for each problem, then the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mjctl.cli.output.tables import Column, DataTable, Sentence, counted, styled
from mjctl.models.check import CheckStatus

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text

    from mjctl.cli.output.console import SafeConsole
    from mjctl.health.model import HealthReport
    from mjctl.models.check import CheckResult

# Each status is a word and not only a colour, for CI logs and for readers who are colour-blind.
_WORDS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "skip": "skip"}
_STYLES = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


def render(report: HealthReport, *, problems: bool = False) -> Group:
    """Return a table for each region, then the advice for each problem, then the verdict in one line.

    Args:
        report: The results of the checks.
        problems: Leave out the checks that passed.
    """
    from rich.console import Group

    return Group(*_regions(report, problems=problems), *_advice(report), _verdict(report))


def screen(report: HealthReport, console: SafeConsole, *, problems: bool = False) -> Group:
    """Return the report for a terminal that cuts off lower lines: the verdict first, then the regions, the worst first.

    The checks that passed are left out if the report would not fit into the terminal.
    """
    from rich.console import Group

    def parts(problems: bool) -> list[RenderableType]:
        return [_verdict(report), *_regions(report, problems=problems, worst_first=True), *_advice(report)]

    whole = Group(*parts(problems))
    height = len(console.render_lines(whole, pad=False))
    return whole if problems or height < console.size.height else Group(*parts(problems=True))


def _regions(report: HealthReport, *, problems: bool, worst_first: bool = False) -> list[RenderableType]:
    from rich.text import Text

    by_region = {
        region: sorted((item for item in report.results if item.region == region), key=_gravity)
        for region in report.regions
    }
    regions = sorted(by_region, key=lambda region: _gravity(by_region[region][0])) if worst_first else list(by_region)
    parts: list[RenderableType] = []
    for region in regions:
        shown = [item for item in by_region[region] if not problems or item.status != "pass"]
        passed = len(by_region[region]) - len(shown)
        parts.append(
            styled((f"{report.environment} {region}", "bold"), f"  {counted(passed, 'check')} ok" if passed else "")
        )
        parts += [_table(shown), Text()] if shown else []
    return parts


def _verdict(report: HealthReport) -> Sentence:
    counts = ", ".join(f"{report.count(status)} {_WORDS[status]}" for status in CheckStatus if report.count(status))
    verdict = {CheckStatus.FAIL: "UNHEALTHY", CheckStatus.WARN: "healthy, with warnings"}.get(report.status, "healthy")
    if report.unobserved and report.status is not CheckStatus.FAIL:
        verdict = f"UNKNOWN: no check could observe {', '.join(report.unobserved)}"
    style = _STYLES["fail" if not report.healthy else report.status]
    return Sentence(
        (verdict, f"{style} bold"),
        f"  {counted(len(report.results), 'check')} in {report.duration_seconds:.1f} s: {counts}",
        (f"  {_clock(report.started_at)}", "dim"),
    )


def _clock(moment: str) -> str:
    """Return the time of day in UTC of `moment`, which is in ISO 8601; only the JSON document has the date."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%H:%M:%S}Z"


def _advice(report: HealthReport) -> list[Text]:
    """Return each advice once, with the checks that gave it. Advice for critical failures comes first."""
    from mjctl.health.model import worst

    checks: dict[tuple[str, str], list[CheckResult]] = {}
    for item in sorted(report.results, key=_gravity):
        if item.hint and item.status in ("warn", "fail"):
            checks.setdefault((item.region, item.hint), []).append(item)
    return [
        styled((f"{region} {', '.join(map(_named, items))}: ", _STYLES[worst(item.status for item in items)]), hint)
        for (region, hint), items in checks.items()
    ]


def _gravity(item: CheckResult) -> int:
    """Return the rank of a check's result. The worst result has rank 0.

    Failures come first, by severity, then warnings, then skipped checks, then checks that passed.
    """
    if item.status == "fail":
        return ("critical", "major", "minor").index(item.severity)
    return {"warn": 3, "skip": 4}.get(item.status, 5)


def _named(item: CheckResult) -> str:
    return f"{item.name} ({item.severity})" if item.status == "fail" else item.name


def _table(results: Sequence[CheckResult]) -> DataTable:
    table = DataTable(
        Column("STATUS"),
        Column("CHECK"),
        Column("SECONDS", 1, right=True),
        Column("FINDING", folds=True),
        headless=True,
    )
    for item in results:
        seconds = (f"{item.duration_seconds:.2f} s", "dim")
        table.add_row((_WORDS[item.status], _STYLES[item.status]), item.name, seconds, item.summary)
    return table
