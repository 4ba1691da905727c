"""`mjctl plan | deploy | destroy | drift | rollback`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.deploy_run import Run, deployed_units, emit_results, end, open_run, roll_out
from mjctl.cli.gate import health_gate
from mjctl.cli.options import (
    GATE,
    ROLLOUT,
    AllowDataLossOption,
    AllRegionsOption,
    BriefOption,
    EnvOption,
    GateThresholdOption,
    JUnitOption,
    LockTimeoutOption,
    MaxFailuresOption,
    MessageOption,
    OutputOption,
    RegionOption,
    SoakOption,
    SummaryFileOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat, chosen_regions, wanted_regions
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.deploy.executor import PlannedUnit
    from mjctl.deploy.planner.desired_state import DesiredState
    from mjctl.deploy.releases.saved_plans import PlanFolder
    from mjctl.deploy.teardown import Teardown
    from mjctl.models.deployment import UnitResult
    from mjctl.models.release import Release


class StrategyName(StrEnum):
    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"
    CANARY = "canary"


def plan(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Keep the plans in this private folder, for `deploy --plans`."),
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Exit code 0 although there are changes; for CI."),
    ] = False,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Show what a deploy would change.

    Exit code 2 when there are changes.

    Example: mjctl plan --region us-east-1 --out plans --summary-file summary.md
    """
    from mjctl.cli.output.reports import begin_reports, write_reports
    from mjctl.deploy.executor import discard
    from mjctl.deploy.releases.saved_plans import PlanFolder
    from mjctl.deploy.staged import plan_known

    run = open_run("plan", env, output)
    run.brief = brief
    run.only_planned = out is None
    begin_reports(summary_file, junit)
    units = run.planner.units(wanted_regions(run.environment, region, all_regions))
    folder = PlanFolder(out.resolve()) if out is not None else None
    release = run.store.of_working_tree()
    with run.held(units, lock_timeout, message):
        if folder is not None:
            folder.prepare()
        planned = run.phase(lambda deployment: plan_known(deployment, run.planner, units, release, folder=folder))
        if folder is None:
            discard(planned)
    results = [one.result for one in planned]
    code = emit_results(run, results, pending=True)
    write_reports(run, code, results, release, summary_file, junit)
    end(ExitCode.OK if allow_changes and code is ExitCode.CHANGES_PENDING else code)


def drift(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Show what has changed outside mjctl since the last deploy.

    Exit code 2 when something has changed. The command changes nothing.

    What the environment's file lists under drift.ignore does not count.

    Example: mjctl drift --all-regions
    """
    from mjctl.cli.output.reports import begin_reports, write_reports
    from mjctl.deploy.executor import discard
    from mjctl.deploy.planner.drift import ignore_expected_drift

    run = open_run("drift", env, output)
    run.brief = brief
    begin_reports(summary_file, junit)
    chosen = chosen_regions(run.environment, region, all_regions) or tuple(run.environment.regions)
    regions, absent = deployed_units(run, chosen, named=bool(region))
    units = (*regions, *_shared(run, chosen))
    with run.held(units, lock_timeout):
        states = [run.planner.for_last_apply(unit) for unit in units]
        planned = run.phase(lambda deployment: deployment.plan(states))
        discard(planned)
    results = [ignore_expected_drift(one.result, run.environment.drift.ignore) for one in planned] + absent
    code = emit_results(run, results, pending=True)
    write_reports(run, code, results, None, summary_file, junit)
    end(code)


def deploy(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    auto_approve: YesOption = False,
    allow_data_loss: AllowDataLossOption = False,
    strategy: Annotated[
        StrategyName,
        typer.Option(
            "--strategy",
            rich_help_panel=ROLLOUT,
            help="All regions at once, one after another, or one and then all the others.",
        ),
    ] = StrategyName.PARALLEL,
    canary: Annotated[
        str | None,
        typer.Option(
            "--canary", metavar="REGION", rich_help_panel=ROLLOUT, help="The canary's region; by default the first."
        ),
    ] = None,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            rich_help_panel=GATE,
            help="Watch the health of a changed region before any other; by default with canary and sequential.",
        ),
    ] = None,
    soak: SoakOption = 0,
    max_failures: MaxFailuresOption = 0,
    threshold: GateThresholdOption = None,
    rollback_on_failure: Annotated[
        bool,
        typer.Option(
            "--rollback-on-failure",
            rich_help_panel=ROLLOUT,
            help="Bring a region that fails or turns unhealthy back to its last good revision.",
        ),
    ] = False,
    plans: Annotated[
        Path | None,
        typer.Option(
            "--plans",
            metavar="PATH",
            rich_help_panel=ROLLOUT,
            help="Apply the plans that `plan --out` kept in this folder.",
        ),
    ] = None,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Bring regions to what the code and the environment's file say.

    With a health gate, a region that turns unhealthy ends the rollout: the others stay as they are, exit code 3.
    A plan that deletes or replaces what holds players' data is refused, exit code 12, without --allow-data-loss.

    Example: mjctl deploy --all-regions --strategy canary --soak 60 --rollback-on-failure --auto-approve
    """
    from mjctl.cli.output.reports import begin_reports, write_reports
    from mjctl.deploy.releases.saved_plans import PlanFolder
    from mjctl.deploy.rollout import RolloutPlan, Strategy

    run = open_run("deploy", env, output)
    run.brief = brief
    run.allow_data_loss = allow_data_loss
    begin_reports(summary_file, junit)
    regions = wanted_regions(run.environment, region, all_regions)
    run.check_machine(regions)
    if canary is not None and (strategy is not StrategyName.CANARY or canary not in regions):
        raise UsageError(
            "--canary names one of the regions that are deployed, with --strategy canary",
            where=f"regions: {', '.join(regions)}",
        )
    gated = strategy is not StrategyName.PARALLEL if gate is None else gate
    watch = health_gate(run, soak, max_failures, threshold or ()) if gated else None
    rollout = RolloutPlan(Strategy(strategy.value), canary, rollback_on_failure)
    release = run.store.of_working_tree()
    units = run.planner.units(regions)
    with run.held(units, lock_timeout, message):
        kept = PlanFolder(plans.resolve()) if plans is not None else None
        planned = _plans(run, units, release, kept)
        results = roll_out(run, planned, rollout, watch, auto_approve, message, release, kept)
    code = emit_results(run, results)
    write_reports(run, code, results, release, summary_file, junit)
    end(code)


def destroy(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    auto_approve: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Take regions down, with all that they hold.

    In a production environment players leave a region first, the primary region goes last, and --all-regions takes
    what exists once along.

    Example: mjctl destroy --all-regions --auto-approve
    """
    from mjctl.cli.lost_backups import warn_of_lost_backups
    from mjctl.deploy.executor import discard

    run = open_run("destroy", env, output)
    regions = wanted_regions(run.environment, region, all_regions)
    units = regions if run.environment.target == "local" else ("foundation", *regions, "edge")
    with run.held(units, lock_timeout, message):
        teardown = _teardown(run, regions, all_regions)
        planned = run.phase(teardown.plan)
        results = [one.result for one in planned]
        try:
            if all(result.ok for result in results):
                going = [result for result in results if result.unit in teardown.going]
                count = sum(result.remove for result in going)
                where = f"{run.environment.name}: {', '.join(result.unit for result in going)}"
                warn_of_lost_backups(run, [result.unit for result in going])
                run.session.confirm(
                    f"Destroy {count} resources of {where}? Their data is lost.",
                    yes=auto_approve,
                    name=run.environment.name if run.environment.stores_players_data else None,
                )
                results = run.recorded(
                    [result.unit for result in results],
                    lambda: run.phase(lambda deployment: teardown.run(deployment, planned)),
                    message=message,
                )
        finally:
            discard(planned)
    end(emit_results(run, results))


def _teardown(run: Run, regions: Sequence[str], everything: bool) -> Teardown:
    """How `regions` go; `everything`: with what a production environment has once."""
    from mjctl.deploy.teardown import LocalTeardown, ProductionTeardown

    release = run.store.of_working_tree()
    if run.environment.target == "local":
        return LocalTeardown([run.local.for_destroy(name, release) for name in regions])
    return ProductionTeardown.of(run.production, run.environment, release, regions, everything=everything)


def rollback(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="REVISION", help="The revision, or how it begins; by default the last good one."),
    ] = None,
    auto_approve: YesOption = False,
    allow_data_loss: AllowDataLossOption = False,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", rich_help_panel=GATE, help="Check the region's health afterwards.")
    ] = True,
    soak: SoakOption = 0,
    max_failures: MaxFailuresOption = 0,
    threshold: GateThresholdOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Bring regions back to an earlier revision.

    This restores the game code, the Terraform code and the variables of that revision.

    The database's schema is not taken back: revisions must be able to run on a newer one.

    Example: mjctl rollback --region us-east-1
    """
    from mjctl.deploy.rollout import RolloutPlan

    run = open_run("rollback", env, output)
    run.brief = brief
    run.allow_data_loss = allow_data_loss
    chosen = wanted_regions(run.environment, region, all_regions)
    regions, absent = deployed_units(run, chosen, named=not all_regions)
    watch = health_gate(run, soak, max_failures, threshold or ()) if gate else None
    with run.held(regions, lock_timeout, message):
        states = [_earlier(run, name, to) for name in regions]
        planned = run.phase(lambda deployment: deployment.plan(states))
        results = roll_out(run, planned, RolloutPlan(), watch, auto_approve, message, None)
    results = [_rolled_back(one) for one in results] + absent
    end(emit_results(run, results))


def _earlier(run: Run, region: str, to: str | None) -> DesiredState:
    from mjctl.deploy.releases.store import RegionReleases

    releases = RegionReleases(run.planner.stack(region))
    if to is not None:
        return run.planner.for_rollback(region, releases.named(to))
    current = releases.current()
    bad = releases.interrupted_revision() or (current.revision if current else None)
    return run.planner.for_rollback(region, releases.last_good(other_than=bad))


def _rolled_back(result: UnitResult) -> UnitResult:
    """A person asked for it, so an apply that went through is a rollback."""
    from mjctl.models.deployment import UnitOutcome

    went_through = result.outcome in (UnitOutcome.APPLIED, UnitOutcome.UNCHANGED)
    return replace(result, outcome=UnitOutcome.ROLLED_BACK) if went_through else result


def _plans(run: Run, units: Sequence[str], release: Release, folder: PlanFolder | None) -> list[PlannedUnit]:
    """Plans made now, or those that lie in `folder`."""
    from mjctl.deploy.staged import plan_known

    run.store.keep(release)
    if folder is not None:
        states = [run.planner.for_release(unit, release) for unit in units]
        return run.phase(lambda deployment: deployment.load_saved(states, folder))
    return run.phase(lambda deployment: plan_known(deployment, run.planner, units, release))


def _shared(run: Run, regions: Sequence[str]) -> tuple[str, ...]:
    """What exists once, where every region is looked at."""
    from mjctl.terraform.contracts import shared_contracts

    if set(regions) != set(run.environment.regions):
        return ()
    return tuple(shared_contracts(run.workspace, run.environment))
