"""`mjctl health`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.options import EnvOption, EveryRegionOption, JUnitOption, RegionOption
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.errors import MjctlError, UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mjctl.cli.target import Target
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
        typer.Option("--only", metavar="GLOB", help="Glob over check names or kinds, e.g. 'table/*'; repeatable."),
    ] = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            help="What ends with exit code 3: failures, also warnings, or critical failures alone.",
        ),
    ] = FailOn.FAIL,
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", metavar="NAME=VALUE", help="NAME=VALUE, e.g. queue_depth_warn=500; repeatable."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", metavar="SECONDS", min=0.5, help="Seconds between two looks of --watch."),
    ] = 5.0,
    problems: Annotated[
        bool, typer.Option("--problems", help="Show only what did not pass; all of it counts.")
    ] = False,
    junit: JUnitOption = None,
    output: Annotated[
        HealthOutput,
        typer.Option("--output", "-o", help="text for people, json for programs, prometheus for a scrape."),
    ] = HealthOutput.TEXT,
) -> None:
    """Check every part of each region, with a real log-in and match.

    Exit code 3 when a check failed (with --fail-on warn: or warned). A failure is critical when players cannot log in
    or play, major when a spare or a safeguard is missing, minor when operators see less. On AWS: the service and its
    tasks in each zone, targets, ElastiCache, Aurora, tables and replicas, queues, functions, alarms, gateway,
    certificate, keys, firewall, CDN and the age of each backup. A check that cannot look is skipped and never counts
    as passed. If no check could look at a region, the region is not healthy: exit code 3. Nor is a region whose last
    deploy was cut short (check `deployment`).

    Problems come first. --watch looks again until Ctrl-C, and shows the problems first on a screen that is too short.

    Example: mjctl health --region us-east-1 --only 'server/*' --only match
    """
    from mjctl.cli.output.health import render
    from mjctl.cli.target import Target
    from mjctl.health.model import Thresholds

    if watch and output is not HealthOutput.TEXT:
        raise UsageError(
            f"--watch prints for people, --output {output} prints exactly one document",
            hint=f"call `mjctl health --output {output}` again and again instead",
        )
    if watch and (junit is not None or fail_on is not FailOn.FAIL):
        raise UsageError(
            "--watch has no end to report: it takes neither --junit nor --fail-on",
            hint="leave out --watch to write a JUnit file, or to get an exit code",
        )
    # Refuse a bad threshold before any state is read.
    Thresholds().with_overrides(threshold or ())
    target = Target(
        env, region, OutputFormat.JSON if output is HealthOutput.JSON else OutputFormat.TEXT, all_regions=all_regions
    )
    promise = target.environment.backup.recovery_point_seconds
    bounds = Thresholds.promising(promise).with_overrides(threshold or ())
    if watch:
        _watch(target, only or [], bounds, interval, problems)
        return
    report = _look(target, only or [], bounds)
    if output is HealthOutput.PROMETHEUS:
        from mjctl.health.prometheus import render as exposition

        target.session.out.file.write(exposition(report))
    elif output is HealthOutput.JSON:
        from mjctl.cli.output.documents.observe import health_fields

        target.session.emit(None, **health_fields(report))
    else:
        target.session.emit(render(report, problems=problems))
    if junit is not None:
        from mjctl.cli.output.reports import health_junit, write_report

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

        return target.run(
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


def _watch(target: Target, only: list[str], bounds: Thresholds, interval: float, problems: bool) -> None:
    """Repeat until interrupted: in place on a terminal, one report after another elsewhere.

    Raises:
        Exit: INTERRUPTED. Ctrl-C is how this ends, so no error is reported.
    """
    from contextlib import nullcontext

    from rich.live import Live

    from mjctl.cli.output.health import render, screen
    from mjctl.cli.output.streams import reader_is_gone
    from mjctl.cli.output.tables import styled

    out = target.session.out
    live = Live(console=out, auto_refresh=False, vertical_overflow="crop") if out.draws else None
    try:
        with live or nullcontext():
            while not reader_is_gone(out.file):
                look: RenderableType
                try:
                    # A deploy may have changed addresses and ports since the last look.
                    target.read_contracts()
                    report = _look(target, only, bounds, quiet=True)
                    look = render(report, problems=problems) if live is None else screen(report, out, problems=problems)
                except MjctlError as error:
                    # A deploy may be replacing the region at this moment: the next look may find it.
                    look = styled(("cannot look", "red bold"), f": {error}")
                if live is not None:
                    live.update(look, refresh=True)
                else:
                    out.print(look)
                    out.file.flush()
                time.sleep(interval)
    except KeyboardInterrupt:
        raise Exit(ExitCode.INTERRUPTED) from None
