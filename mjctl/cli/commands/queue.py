"""`mjctl queue`: shows the queues, and shows, redrives or deletes their dead-letter messages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import (
    DryRunOption,
    EnvOption,
    EveryRegionOption,
    NamedRegionsOption,
    OutputOption,
    QueueArgument,
    RegionOption,
    YesOption,
)
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.output.tables import DataTable
    from mjctl.clients.regions import RegionOutcome
    from mjctl.queues.dead_letters import DeadLetter
    from mjctl.queues.operations import QueueRow
    from mjctl.queues.redrive import RedriveResult

app = CommandGroup(no_args_is_help=True, help="Inspect queues; redrive or delete their dead-letter messages.")


@app.command("list")
def list_queues(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show depth, oldest message and failed messages of every queue.

    The command changes nothing. The column DEAD LETTERS counts the messages that the worker could not process.

    Example: mjctl queue list --region us-east-1
    """
    from mjctl.cli.target import Target, conclude
    from mjctl.queues.operations import list_queues as service

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = target.in_each_region(service)
    conclude(target.session, outcomes, _queue_table(outcomes), lambda rows: {"queues": rows})


@app.command()
def peek(
    name: QueueArgument,
    *,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="COUNT", min=1, max=1000, help="Number of messages to show at most in each region."
        ),
    ] = 10,
    bodies: Annotated[
        bool, typer.Option("--bodies", help="Show the content of the messages, which can contain players' names.")
    ] = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show dead-letter messages and the errors of the worker.

    The messages stay in the dead-letter queue, but each peek counts as a delivery.

    The worker keeps its last error for each message in the region's cache. On AWS `mjctl queue peek` cannot read the
    cache, so the worker's errors are only in the worker's log.

    Example: mjctl queue peek persistence --limit 5
    """
    from mjctl.cli.target import Target, conclude
    from mjctl.queues.dead_letters import peek as service

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = target.in_each_region(lambda contract: service(contract, name, limit=limit))
    conclude(
        target.session,
        outcomes,
        _letter_table(outcomes, bodies),
        lambda letters: {"letters": [letter if bodies else replace(letter, body=None) for letter in letters]},
    )


@app.command()
def redrive(
    name: QueueArgument,
    *,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="COUNT",
            min=1,
            help="Largest number of dead-letter messages to send again in each region. Default: all.",
        ),
    ] = None,
    per_second: Annotated[
        float,
        typer.Option(
            "--per-second",
            metavar="NUMBER",
            min=0.1,
            help="Largest number of messages to send in a second in each region, so that the worker can keep up.",
        ),
    ] = 50.0,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send dead-letter messages to their queue again.

    The command asks for confirmation first. A dead-letter message is deleted only after the queue has accepted it. Exit
    code 14 if the queue refused a message, or if an accepted message could not be deleted from the dead-letter queue.

    Example: mjctl queue redrive persistence --region us-east-1 --per-second 20
    """
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude
    from mjctl.queues.redrive import count_dead
    from mjctl.queues.redrive import redrive as service

    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if not (dry_run or yes):
        counts = target.in_each_region(lambda contract: count_dead(contract, name))
        if all(item.error for item in counts):
            conclude(target.session, counts, None)
        messages = sum(min(item.value or 0, limit or item.value or 0) for item in counts)
        target.session.confirm(
            f"Send {counted(messages, 'dead-letter message')} of queue `{name}` back to this queue ({target.scope})?",
            yes=yes,
        )
    with target.session.progress() as progress:
        task = progress.add_task("redriving", total=None)
        moved_by_region: dict[str, int] = {}

        async def in_region(contract: Any) -> RedriveResult:
            def on_progress(moved: int) -> None:
                moved_by_region[contract.region] = moved
                progress.update(task, completed=sum(moved_by_region.values()))

            return await service(
                contract, name, limit=limit, per_second=per_second, dry_run=dry_run, on_progress=on_progress
            )

        outcomes = target.in_each_region(in_region)
    lines = [f"{item.region}: {_redriven(item.value)}" for item in outcomes if item.value is not None]
    for item in outcomes:
        for reason in item.value.refusals if item.value else ():
            target.session.say(f"{item.region}: SQS refused a message: {reason}")
    conclude(target.session, outcomes, "\n".join(lines))
    if any(item.value is not None and (item.value.failed or item.value.not_deleted) for item in outcomes):
        raise Exit(ExitCode.VERIFICATION)


@app.command()
def purge(
    name: QueueArgument,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: NamedRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete every dead-letter message of a queue, permanently.

    The command asks for confirmation first. Messages that wait in the queue itself are not deleted.

    Example: mjctl queue purge persistence --region us-east-1 --dry-run
    """
    from mjctl.cli.output.tables import counted
    from mjctl.cli.target import Target, conclude
    from mjctl.queues import operations

    target = Target(env, region, output, all_regions=all_regions, must_be_named=True)
    if not dry_run:
        target.session.confirm(f"Delete every dead-letter message of `{name}` in {target.scope}, permanently?", yes=yes)
    outcomes = target.in_each_region(lambda contract: operations.purge(contract, name, dry_run=dry_run))
    done = "would be deleted" if dry_run else "deleted"
    lines = [
        f"{item.region}: {counted(item.value, 'dead-letter message')} {done}"
        for item in outcomes
        if item.value is not None
    ]
    conclude(
        target.session,
        outcomes,
        "\n".join(lines),
        lambda count: {"letters": count, "dry_run": dry_run},
    )


def _redriven(result: RedriveResult) -> str:
    from mjctl.cli.output.tables import counted

    if result.dry_run:
        return f"{counted(result.moved, 'dead-letter message')} would be sent again"
    parts = [f"{result.moved} sent again", f"{result.failed} refused", f"{result.remaining} remain"]
    if result.not_deleted:
        parts.insert(1, f"{result.not_deleted} sent again but not deleted from the dead-letter queue")
    return ", ".join(parts)


def _queue_table(outcomes: list[RegionOutcome[list[QueueRow]]]) -> DataTable:
    from mjctl.cli.output.tables import Column, DataTable, human_seconds

    table = DataTable(
        Column("REGION"),
        Column("QUEUE"),
        Column("WAITING", 2, right=True),
        Column("IN FLIGHT", 4, right=True),
        Column("OLDEST", 3, right=True),
        Column("DEAD LETTERS", 1, right=True),
        Column("MAX DELIVERIES", 5, right=True),
    )
    for outcome in outcomes:
        for row in outcome.value or ():
            dead = (str(row.dead_letters), "red" if row.dead_letters else "")
            age = human_seconds(row.oldest_age_seconds)
            counts = str(row.waiting), str(row.in_flight), age, dead, str(row.max_receive_count)
            table.add_row(outcome.region, row.name, *counts)
    return table


def _letter_table(outcomes: list[RegionOutcome[list[DeadLetter]]], bodies: bool) -> DataTable:
    from datetime import UTC, datetime

    from mjctl.cli.output.tables import Column, DataTable, human_age

    table = DataTable(
        Column("REGION", 3),
        Column("SENT", 1),
        Column("TYPE", 2),
        Column("EVENT"),
        Column("DELIVERIES", 4, right=True),
        Column("BYTES", 5, right=True),
        Column("BODY" if bodies else "LAST ERROR", folds=True),
    )
    for outcome in outcomes:
        for letter in outcome.value or ():
            sent = human_age(datetime.fromtimestamp(letter.sent_at, UTC))
            cells = [outcome.region, sent, letter.event_type or "?", letter.event_id or letter.message_id]
            cells += [
                str(letter.deliveries),
                str(letter.size_bytes),
                letter.body if bodies else letter.last_error or "unknown",
            ]
            table.add_row(*cells)
    return table
