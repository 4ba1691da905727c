"""`mjctl plan`, `deploy`, `destroy`, `drift` and `rollback`: the commands that run Terraform."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.deploy_run import Run, emit_results, end, open_run
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
    WholeEnvironmentOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat, chosen_regions, wanted_regions
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.deploy.gate import Gate
    from mjctl.deploy.operation import Approve
    from mjctl.models.deployment import UnitResult


class StrategyName(StrEnum):
    """Names the order in which a deploy changes the regions."""

    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"
    CANARY = "canary"


def plan(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="Save the plans in this folder. `mjctl deploy --plans PATH` applies the saved plans.",
        ),
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="End with exit code 0, not 2, if there are changes."),
    ] = False,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Show what a deploy would change.

    The command applies nothing. Exit code 2 if there are changes, 0 if there are none.

    Example: mjctl plan --region us-east-1 --out plans --summary-file summary.md
    """
    from mjctl.cli.output.reports import begin_reports, write_reports
    from mjctl.deploy.releases.saved_plans import PlanFolder

    run = open_run("plan", env, output, message=message, lock_timeout=lock_timeout, brief=brief)
    begin_reports(summary_file, junit)
    regions = wanted_regions(run.environment, region, all_regions)
    result = run.deploys.plan(regions, folder=PlanFolder(out.resolve()) if out is not None else None)
    code = emit_results(run, result)
    write_reports(run.command, run.environment.name, code, result.results, result.release, summary_file, junit)
    end(ExitCode.OK if allow_changes and code is ExitCode.CHANGES_PENDING else code)


def drift(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: WholeEnvironmentOption = False,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Show what has changed outside mjctl since the last deploy.

    The command changes nothing. Exit code 2 if a resource has changed, 0 if none has.

    Changes that the environment's file lists under drift.ignore do not count.

    Example: mjctl drift --all-regions
    """
    from mjctl.cli.output.reports import begin_reports, write_reports

    run = open_run("drift", env, output, lock_timeout=lock_timeout, brief=brief)
    begin_reports(summary_file, junit)
    regions = chosen_regions(run.environment, region, all_regions) or tuple(run.environment.regions)
    result = run.deploys.drift(regions, named=bool(region))
    code = emit_results(run, result)
    write_reports(run.command, run.environment.name, code, result.results, None, summary_file, junit)
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
            help="parallel: all regions at once. sequential: one region after another. canary: one region first, then "
            "all others at once.",
        ),
    ] = StrategyName.PARALLEL,
    canary: Annotated[
        str | None,
        typer.Option(
            "--canary",
            metavar="REGION",
            rich_help_panel=ROLLOUT,
            help="Region that `--strategy canary` changes first. Default: the first region of the deploy.",
        ),
    ] = None,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            rich_help_panel=GATE,
            help="Check the health of a changed region before the next regions are changed. Default: --gate for the "
            "strategies canary and sequential, --no-gate for parallel.",
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
            help="If the deploy of a region fails, or the gate finds the region unhealthy, return the region to its "
            "newest earlier revision that no gate has found unhealthy.",
        ),
    ] = False,
    plans: Annotated[
        Path | None,
        typer.Option(
            "--plans",
            metavar="PATH",
            rich_help_panel=ROLLOUT,
            help="Apply the plans that `mjctl plan --out PATH` saved in this folder, instead of new plans.",
        ),
    ] = None,
    summary_file: SummaryFileOption = None,
    junit: JUnitOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Apply the current code and the environment's file to regions.

    The command shows its plan and asks for confirmation before it applies the plan. On AWS the command also applies the
    units foundation and edge.

    With a health gate, an unhealthy region ends the rollout with exit code 3, and the next regions stay unchanged.
    Without --allow-data-loss, a plan that deletes or replaces a data store or an encryption key is refused with exit
    code 12.

    Example: mjctl deploy --all-regions --strategy canary --soak 60 --rollback-on-failure --auto-approve
    """
    from mjctl.cli.output.reports import begin_reports, write_reports
    from mjctl.deploy.releases.saved_plans import PlanFolder
    from mjctl.deploy.rollout import RolloutPlan, Strategy

    run = open_run(
        "deploy",
        env,
        output,
        message=message,
        lock_timeout=lock_timeout,
        allow_data_loss=allow_data_loss,
        brief=brief,
    )
    begin_reports(summary_file, junit)
    regions = wanted_regions(run.environment, region, all_regions)
    if canary is not None and (strategy is not StrategyName.CANARY or canary not in regions):
        raise UsageError(
            "--canary needs --strategy canary and a region of this deploy",
            where=f"regions: {', '.join(regions)}",
            hint=f"for example --strategy canary --canary {regions[0]}",
        )
    gated = strategy is not StrategyName.PARALLEL if gate is None else gate
    result = run.deploys.deploy(
        regions,
        approve=run.approval(f"Apply these changes to {run.environment.name}", auto_approve),
        rollout=RolloutPlan(Strategy(strategy.value), canary, rollback_on_failure),
        gate=_gate(run, soak, max_failures, threshold) if gated else None,
        plans=PlanFolder(plans.resolve()) if plans is not None else None,
    )
    code = emit_results(run, result)
    write_reports(run.command, run.environment.name, code, result.results, result.release, summary_file, junit)
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
    """Delete regions with all their data.

    The command asks for confirmation first. If the environment stores players' data, the operator must type the
    environment's name. Before the question, the command lists the backups that cannot be decrypted without the deleted
    regions' keys.

    On AWS, the edge stops sending players to a region before the region is deleted. The primary region is deleted after
    the other regions. With --all-regions, the units foundation and edge are deleted too.

    Example: mjctl destroy --all-regions --auto-approve
    """
    run = open_run("destroy", env, output, message=message, lock_timeout=lock_timeout)
    regions = wanted_regions(run.environment, region, all_regions)
    result = run.deploys.destroy(regions, approve=_destroy_approval(run, auto_approve), everything=all_regions)
    end(emit_results(run, result))


def rollback(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="REVISION",
            help="Revision to return to, or its first characters. Default: the newest earlier revision of each region "
            "that no gate has found unhealthy.",
        ),
    ] = None,
    auto_approve: YesOption = False,
    allow_data_loss: AllowDataLossOption = False,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate", rich_help_panel=GATE, help="Check the health of each region after its rollback."
        ),
    ] = True,
    soak: SoakOption = 0,
    max_failures: MaxFailuresOption = 0,
    threshold: GateThresholdOption = None,
    brief: BriefOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Return regions to an earlier revision.

    The command restores the game code, the Terraform code and the Terraform variables of the earlier revision. The
    command asks for confirmation before it changes a region.

    The database keeps its present schema, so the code of the earlier revision must work with a newer schema.

    Example: mjctl rollback --region us-east-1
    """
    run = open_run(
        "rollback",
        env,
        output,
        message=message,
        lock_timeout=lock_timeout,
        allow_data_loss=allow_data_loss,
        brief=brief,
    )
    result = run.deploys.rollback(
        wanted_regions(run.environment, region, all_regions),
        approve=run.approval(f"Apply these changes to {run.environment.name}", auto_approve),
        to=to,
        gate=_gate(run, soak, max_failures, threshold) if gate else None,
        named=not all_regions,
    )
    end(emit_results(run, result))


def _gate(run: Run, soak: float, max_failures: int, threshold: Sequence[str] | None) -> Gate:
    from mjctl.operations.health import health_gate

    return health_gate(
        run.workspace, run.environment, soak_seconds=soak, max_failures=max_failures, thresholds=threshold or ()
    )


def _destroy_approval(run: Run, auto_approve: bool) -> Approve:
    """Return a callback that lists the backups that become unreadable, and asks whether to destroy the units."""
    from mjctl.backup.lost import lost_with
    from mjctl.cli.output.backup import lost_backup_lines
    from mjctl.models.errors import MjctlError

    def approve(going: Sequence[UnitResult]) -> bool:
        units = [result.unit for result in going]
        try:
            run.session.say(*lost_backup_lines(lost_with(run.workspace, run.environment, units)))
        except MjctlError as error:
            # A backup store that does not answer must not prevent the destroy of a region.
            run.session.say(f"cannot tell which backups become unreadable: {error}")
        count = sum(result.remove for result in going)
        run.session.confirm(
            f"Destroy {count} resources and all data of {run.environment.name}: {', '.join(units)}?",
            yes=auto_approve,
            name=run.environment.name if run.environment.stores_players_data else None,
        )
        return True

    return approve
