"""`mjctl health`."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.base import EnvOption, EveryRegionOption, Exit, OutputFormat, RegionOption
from mjctl.cli.deploy_run import JUnitOption
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Group

    from mjctl.cli.regions import Target
    from mjctl.health.model import HealthReport, Thresholds
    from mjctl.models.check import CheckResult


class HealthOutput(StrEnum):
    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


class FailOn(StrEnum):
    FAIL = "fail"
    WARN = "warn"
    CRITICAL = "critical"


def health(
    *,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", envvar="MJCTL_ONLY", help="Glob over check names or kinds, e.g. 'table/*'; repeatable."),
    ] = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            envvar="MJCTL_FAIL_ON",
            help="What ends with exit code 3: failures, also warnings, or critical failures alone.",
        ),
    ] = FailOn.FAIL,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", envvar="MJCTL_THRESHOLD", help="NAME=VALUE, e.g. queue_depth_warn=500; repeatable."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", envvar="MJCTL_WATCH", help="Look again and again until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", min=0.5, envvar="MJCTL_INTERVAL", help="Seconds between two looks of --watch."),
    ] = 5.0,
    junit: JUnitOption = None,
    output: Annotated[
        HealthOutput,
        typer.Option(
            "--output", "-o", envvar="MJCTL_OUTPUT", help="text for people, json for programs, prometheus for a scrape."
        ),
    ] = HealthOutput.TEXT,
) -> None:
    """Look at every part of every deployed region; a real log-in and a real short match are part of it.

    Exit code 3 when a check failed (with --fail-on warn: or warned). A failure is critical when players cannot log in
    or play, major when a spare or a safeguard is missing, minor when operators see less. On AWS: the service and its
    tasks in each zone, targets, ElastiCache, Aurora, tables and replicas, queues, functions, alarms, gateway,
    certificate, keys, firewall, CDN and the age of each backup. A check that cannot look is skipped and never counts
    as passed. If no check could look at a region, the region is not healthy: exit code 3. Nor is a region whose last
    deploy was cut short (check `deployment`).

    Example: mjctl health --region us-east-1 --only 'server/*' --only match
    """
    from mjctl.cli.regions import Target
    from mjctl.health.model import Thresholds

    if watch and output is not HealthOutput.TEXT:
        raise UsageError(
            f"--watch prints for people, --output {output} prints exactly one document",
            hint=f"call `mjctl health --output {output}` again and again instead",
        )
    # Told before any state is read.
    Thresholds().with_overrides(threshold or ())
    target = Target(
        env, region, OutputFormat.JSON if output is HealthOutput.JSON else OutputFormat.TEXT, all_regions=all_regions
    )
    promise = target.environment.backup.recovery_point_seconds
    bounds = Thresholds.promising(promise).with_overrides(threshold or ())
    if watch:
        _watch(target, only or [], bounds, interval)
        return
    report = _look(target, only or [], bounds)
    if output is HealthOutput.PROMETHEUS:
        from mjctl.health.prometheus import render as exposition

        target.session.out.file.write(exposition(report))
    else:
        target.session.emit(render(report), data=report.to_json())
    if junit is not None:
        from mjctl.cli.reports import health_junit, write_report

        write_report(junit, health_junit(report.environment, report.results))
    if _counts_as_failing(report, fail_on):
        raise Exit(ExitCode.UNHEALTHY)


def _counts_as_failing(report: HealthReport, fail_on: FailOn) -> bool:
    if report.unobserved or not report.results:
        # Nothing failed because nothing was looked at.
        return True
    if fail_on is FailOn.CRITICAL:
        return any(item.status == "fail" and item.severity == "critical" for item in report.results)
    return report.status in ({"fail", "warn"} if fail_on is FailOn.WARN else {"fail"})


def _look(target: Target, only: list[str], bounds: Thresholds, *, quiet: bool = False) -> HealthReport:
    from mjctl.deploy.status import unfinished_regions
    from mjctl.health.checks.deployment import half_made
    from mjctl.health.registry import checks_for
    from mjctl.health.runner import run_health, select

    unfinished = unfinished_regions(target.workspace, target.environment, target.regions)
    private_dirs = {
        name: target.workspace.region_dir(target.environment.name, name) / "secrets" for name in target.contracts
    }
    total = sum(len(select(checks_for(contract), only)) for contract in target.contracts.values())
    with target.session.progress() as progress:
        task = progress.add_task("looking", total=total, visible=not quiet)

        def heard(_result: CheckResult) -> None:
            progress.advance(task)

        return asyncio.run(
            run_health(
                target.environment.name,
                target.contracts,
                private_dirs,
                only=only,
                thresholds=bounds,
                on_result=heard,
                known=[half_made(target.environment.name, name, holder) for name, holder in unfinished.items()],
            )
        )


def _watch(target: Target, only: list[str], bounds: Thresholds, interval: float) -> None:
    """Repeat until interrupted: in place on a terminal, one report after another elsewhere."""
    from rich.live import Live

    out = target.session.out
    if not out.is_terminal:
        while True:
            out.print(render(_look(target, only, bounds, quiet=True)))
            out.file.flush()
            time.sleep(interval)
    with Live(console=out, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.update(render(_look(target, only, bounds, quiet=True)), refresh=True)
            time.sleep(interval)


def render(report: HealthReport) -> Group:
    """One table a region, then what to do about each finding, then the verdict in one line."""
    from rich.console import Group
    from rich.text import Text

    from mjctl.cli.tables import counted
    from mjctl.models.check import CheckStatus

    parts: list[object] = []
    for region in report.regions:
        results = [item for item in report.results if item.region == region]
        parts += [Text(f"{report.environment} {region}", style="bold"), _table(results), Text()]
    parts += _advice(report)
    counts = ", ".join(f"{report.count(status)} {_WORDS[status]}" for status in CheckStatus if report.count(status))
    verdict = {
        CheckStatus.FAIL: "UNHEALTHY",
        CheckStatus.WARN: "healthy, with warnings",
    }.get(report.status, "healthy")
    if report.unobserved and report.status is not CheckStatus.FAIL:
        verdict = f"UNKNOWN: no check looked at {', '.join(report.unobserved)}"
    style = _STYLES["fail" if not report.healthy else report.status]
    parts.append(
        Text.assemble(
            (verdict, f"{style} bold"),
            f"  {counted(len(report.results), 'check')} in {report.duration_seconds:.1f} s: {counts}",
            (f"  {report.started_at}", "dim"),
        )
    )
    return Group(*parts)  # type: ignore[arg-type]


def _advice(report: HealthReport) -> list[object]:
    """What to do, each advice once with the checks that it is for; what keeps players from playing comes first."""
    from rich.text import Text

    from mjctl.health.model import worst

    checks: dict[tuple[str, str], list[CheckResult]] = {}
    for item in sorted(report.results, key=_gravity):
        if item.hint and item.status in ("warn", "fail"):
            checks.setdefault((item.region, item.hint), []).append(item)
    return [
        Text.assemble(
            (f"{region} {', '.join(map(_named, items))}: ", _STYLES[worst(item.status for item in items)]),
            hint,
        )
        for (region, hint), items in checks.items()
    ]


def _gravity(item: CheckResult) -> int:
    """Less is graver: failures by severity, then warnings."""
    return ("critical", "major", "minor").index(item.severity) if item.status == "fail" else 3


def _named(item: CheckResult) -> str:
    return f"{item.name} ({item.severity})" if item.status == "fail" else item.name


def _table(results: list[CheckResult]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column("status", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("finding", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True, style="dim")
    for item in results:
        table.add_row(
            Text(_WORDS[item.status], style=_STYLES[item.status]),
            Text(item.name),
            Text(item.summary),
            f"{item.duration_seconds:.2f} s",
        )
    return table


# Words, not only colours: a CI log and a colour-blind reader see them too.
_WORDS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "skip": "skip"}
_STYLES = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
