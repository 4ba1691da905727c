"""`mjctl failover`: sends the players of a region to other regions, and brings them back."""

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
    region: Annotated[
        str,
        typer.Option(
            "--region", "-r", metavar="REGION", help="Region that players leave, or return to with --restore."
        ),
    ],
    env: EnvOption = "local",
    restore: Annotated[
        bool, typer.Option("--restore", help="Undo a failover: the region accepts new matches again.")
    ] = False,
    to_region: Annotated[
        str | None,
        typer.Option(
            "--to-region",
            metavar="REGION",
            help="Region that receives the database's writer. Default: the region whose copy of the database has the "
            "least lag.",
        ),
    ] = None,
    allow_data_loss: Annotated[
        bool,
        typer.Option(
            "--allow-data-loss",
            help="Make another region the database's writer, even if the region of the present writer no longer "
            "answers. A row of the database that is not yet copied to the new writer's region is lost.",
        ),
    ] = False,
    with_writer: Annotated[
        bool,
        typer.Option(
            "--with-writer",
            help="With --restore: first move the database's writer back to the region, without loss of data.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Probe the other regions and show the steps, but change nothing.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="SECONDS", min=0, help="Seconds to wait at most until the running matches have ended."
        ),
    ] = 0,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send players out of a region; --restore brings them back.

    The command asks for confirmation. Without --restore, the command first probes the other regions. On the target
    `local`, another region can take players only if a log-in and a match succeed in it. On AWS, the probe runs checks
    of `mjctl health` that need no log-in.

    On the target `local`, the API of the region that players leave refuses new matches and names the regions that
    can take players. On the target `local`, accounts and results are not moved to another region. Running matches are
    played to their end on every target.

    On AWS, DNS excludes the region, which takes effect within minutes. If the region has the writer of the global
    database, the writer moves to another region before DNS excludes the region. The database's writer moves without
    loss of data unless --allow-data-loss is given. If the database's writer cannot move, DNS does not exclude the
    region.

    Exit code 3 if the probes after the failover fail. If a step fails, the exit code is the code of the step's error.

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
        raise UsageError("--restore and --dry-run exclude each other", hint="leave out --restore or --dry-run")
    if restore and moves:
        raise UsageError(
            "--restore cannot be combined with --to-region or --allow-data-loss",
            hint="--restore --with-writer moves the database's writer back to the region, without loss of data",
        )
    if with_writer and not restore:
        raise UsageError(
            "--with-writer needs --restore",
            hint="leave out --with-writer: without --restore, the command always moves the database's writer out of "
            "the region",
        )


def _question(plan: FailoverPlan, environment: str) -> str:
    if not plan.takers:
        question = f"let {plan.region} in {environment} accept matches again?"
        return f"Move the {plan.writer.summary}, then {question}" if plan.writer else question.capitalize()
    if plan.writer:
        return f"Move the {plan.writer.summary}, then send the {plan.summary} in {environment}?"
    return f"Send the {plan.summary} in {environment}?"


def _deployed(target: Target, region: str) -> Contract:
    from mjctl.terraform.contracts import deployed_contracts

    contract = target.contracts.get(region)
    return contract or deployed_contracts(target.workspace, target.environment, [region])[region]
