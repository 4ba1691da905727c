"""`mjctl health`: checks every part of each region, once or repeatedly."""

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
    """Names the format of the report: text, JSON, or the exposition format of Prometheus."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


class FailOn(StrEnum):
    """Names the least serious result that makes the command end with exit code 3."""

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
        typer.Option(
            "--only",
            metavar="GLOB",
            help="Run only the checks whose name, such as table/matches, or whose kind, such as table, matches this "
            "glob. Repeatable.",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            help="When to end with exit code 3. fail: if a check failed. warn: also if a check warned. critical: only "
            "if a critical check failed.",
        ),
    ] = FailOn.FAIL,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="NAME=VALUE",
            help="Limit at which a check warns or fails, such as queue_depth_warn=500. Repeatable.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat the checks until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", metavar="SECONDS", min=0.5, help="Seconds of pause between two rounds of checks with --watch."
        ),
    ] = 5.0,
    problems: Annotated[
        bool,
        typer.Option(
            "--problems",
            help="Hide the checks that passed. The verdict and the exit code also count the checks that passed.",
        ),
    ] = False,
    junit: JUnitOption = None,
    output: Annotated[
        HealthOutput,
        typer.Option(
            "--output",
            "-o",
            help="Format of the report on stdout: text for people, json for programs, prometheus for a scrape.",
        ),
    ] = HealthOutput.TEXT,
) -> None:
    """Check every part of each region, with a real log-in and match.

    The command changes nothing. The match is played by internal accounts, which count in no statistics. Exit code 3 if
    a check failed; see --fail-on.

    A failed check is critical if players cannot log in or play. A failed check is major if a reserve or a safeguard is
    missing, and minor if only information for operators is missing.

    On AWS, checks also cover tasks in each zone, load balancer targets, ElastiCache, Aurora, tables and replicas,
    queues, functions, alarms and gateway. On AWS, checks also cover certificate, keys, firewall, CDN and the age of
    each backup.

    A check that cannot observe its part is skipped and does not count as passed. A region is unhealthy if all its
    checks were skipped, or if its last deploy was interrupted (check `deployment`).

    The report lists failed checks and warnings first. If the report does not fit into the terminal, --watch hides the
    checks that passed.

    Example: mjctl health --region us-east-1 --only 'server/*' --only match
    """
    from mjctl.cli.output.health import render
    from mjctl.cli.target import Target
    from mjctl.health.model import Thresholds

    if watch and output is not HealthOutput.TEXT:
        raise UsageError(
            f"--watch cannot be combined with --output {output}, which prints exactly one document",
            hint=f"repeat `mjctl health --output {output}` in a script instead",
        )
    if watch and (junit is not None or fail_on is not FailOn.FAIL):
        raise UsageError(
            "--watch cannot be combined with --junit or --fail-on, because --watch has no final result",
            hint="leave out --watch to write a JUnit report or to get an exit code",
        )
    # Refuse an invalid --threshold now, before mjctl reads Terraform states.
    Thresholds().with_overrides(threshold or ())
    target = Target(
        env, region, OutputFormat.JSON if output is HealthOutput.JSON else OutputFormat.TEXT, all_regions=all_regions
    )
    promise = target.environment.backup.recovery_point_seconds
    bounds = Thresholds.promising(promise).with_overrides(threshold or ())
    if watch:
        _watch(target, only or [], bounds, interval, problems)
        return
    report = _check(target, only or [], bounds)
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
        # A region that no check observed is not healthy, although no check failed.
        return True
    if fail_on is FailOn.CRITICAL:
        return any(item.status == "fail" and item.severity == "critical" for item in report.results)
    return report.status in ({"fail", "warn"} if fail_on is FailOn.WARN else {"fail"})


def _check(target: Target, only: list[str], bounds: Thresholds, *, quiet: bool = False) -> HealthReport:
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
        task = progress.add_task("checking", total=total, visible=not quiet)

        def count_result(_result: CheckResult) -> None:
            progress.advance(task)

        return target.run(
            run_health(
                target.environment.name,
                target.contracts,
                private_dirs,
                only=only,
                thresholds=bounds,
                on_result=count_result,
                known=[half_made(target.environment.name, name, holder) for name, holder in unfinished.items()],
            )
        )


def _watch(target: Target, only: list[str], bounds: Thresholds, interval: float, problems: bool) -> None:
    """Repeat the checks until Ctrl-C. A terminal shows the newest report in place, a pipe gets each report.

    Raises:
        Exit: INTERRUPTED. Ctrl-C is the normal end of --watch, so no error message is printed.
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
                view: RenderableType
                try:
                    # Read the contracts again, because a deploy may have changed addresses and ports since the last
                    # round of checks.
                    target.read_contracts()
                    report = _check(target, only, bounds, quiet=True)
                    view = render(report, problems=problems) if live is None else screen(report, out, problems=problems)
                except MjctlError as error:
                    # The next round of checks tries again, because an error can be temporary, for example while a
                    # deploy replaces the region.
                    view = styled(("cannot run the checks", "red bold"), f": {error}")
                if live is not None:
                    live.update(view, refresh=True)
                else:
                    out.print(view)
                    out.file.flush()
                time.sleep(interval)
    except KeyboardInterrupt:
        raise Exit(ExitCode.INTERRUPTED) from None
