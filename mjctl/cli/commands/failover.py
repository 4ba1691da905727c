"""`mjctl failover`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.options import EnvOption, OutputOption, YesOption
from mjctl.cli.session import Exit, OutputFormat, chosen_regions
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.fleet.failover_report import FailoverPlan
    from mjctl.models.contract import Contract


def failover(
    region: Annotated[str, typer.Option("--region", "-r", metavar="REGION", help="The region to leave.")],
    env: EnvOption = "local",
    restore: Annotated[bool, typer.Option("--restore", help="Let the region take matches again.")] = False,
    to_region: Annotated[
        str | None,
        typer.Option(
            "--to-region",
            metavar="REGION",
            help="Where the database's writer goes; else the copy least behind.",
        ),
    ] = None,
    allow_data_loss: Annotated[
        bool,
        typer.Option(
            "--allow-data-loss",
            help="The region is gone: its writer is replaced, and rows not yet copied are lost.",
        ),
    ] = False,
    with_writer: Annotated[
        bool,
        typer.Option("--with-writer", help="With --restore: move the writer back first."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Probe the other regions, and move nobody.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="Seconds to wait for running matches to end.")
    ] = 0,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send the players of a region to others; --restore undoes it.

    Before that, a log-in and a match in the other regions must succeed.

    The region's API takes no new matches and names the other regions; running matches are played to their end. On the
    target `local` accounts and results stay with their region. On AWS the others are looked at, as `mjctl health` does;
    if the region writes to the global database, another one takes the writer first, without loss of data unless
    --allow-data-loss; then DNS leaves the region out within minutes. If the writer cannot move, players stay where they
    are. Exit code 3 when the probes afterwards fail; that of the error when a step failed.

    Example: mjctl failover --region us-east-1 --dry-run
    """
    from mjctl.cli.output.failover import shown
    from mjctl.cli.target import Target
    from mjctl.fleet.failover_sequence import Failover
    from mjctl.operations.health import failover_probe

    _check_options(restore=restore, dry_run=dry_run, with_writer=with_writer, moves=bool(to_region or allow_data_loss))
    target = Target(env, None, output)
    (name,) = chosen_regions(target.environment, [region]) or (region,)

    def say(line: str) -> None:
        target.session.say(line)

    def approve(plan: FailoverPlan) -> bool:
        target.session.confirm(_question(plan, target.environment.name), yes=yes)
        return True

    probe = failover_probe(target.workspace, target.environment)
    sequence = Failover(_deployed(target, name), target.contracts, probe, say)
    if restore:
        report = sequence.restore(approve=approve, with_writer=with_writer)
    elif dry_run:
        report = sequence.rehearse(to_region=to_region, lossy=allow_data_loss)
    else:
        report = sequence.leave(approve=approve, to_region=to_region, lossy=allow_data_loss, wait_seconds=wait)
    text, entry = shown(report)
    target.session.emit(text, regions=[entry])
    if report.error is not None:
        target.session.say(str(report.error), *([report.error.hint] if report.error.hint else []))
    if report.exit_code:
        raise Exit(report.exit_code)


def _check_options(*, restore: bool, dry_run: bool, with_writer: bool, moves: bool) -> None:
    if restore and dry_run:
        raise UsageError("--restore and --dry-run exclude each other")
    if restore and moves:
        raise UsageError(
            "--restore takes neither --to-region nor --allow-data-loss",
            hint="--restore --with-writer moves the writer back to the region, without loss of data",
        )
    if with_writer and not restore:
        raise UsageError("--with-writer belongs to --restore", hint="a failover moves the writer by itself")


def _question(plan: FailoverPlan, environment: str) -> str:
    if not plan.takers:
        question = f"Let {environment} {plan.region} take matches again?"
        return f"Move the {plan.writer.summary}; then: {question}" if plan.writer else question
    if plan.writer:
        return f"Move the {plan.writer.summary}; then send the {plan.summary} in {environment}?"
    return f"Send the {plan.summary} in {environment}?"


def _deployed(target: Target, region: str) -> Contract:
    from mjctl.terraform.contracts import deployed_contracts

    found = target.contracts.get(region)
    return found or deployed_contracts(target.workspace, target.environment, [region])[region]
