"""`mjctl queue`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.base import EnvOption, EveryRegionOption, OutputFormat, OutputOption, RegionOption, YesOption

if TYPE_CHECKING:
    from mjctl.aws.regions import RegionOutcome
    from mjctl.cli.tables import DataTable
    from mjctl.queues.operations import DeadLetter, QueueRow

app = typer.Typer(no_args_is_help=True, help="Queues and their dead letters, over one or several regions.")

NameArgument = Annotated[str, typer.Argument(help="Name of the queue, as `mjctl queue list` shows it.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command("list")
def list_queues(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Depth, messages in flight, age of the oldest and dead letters of every queue.

    Example: mjctl queue list --region us-east-1
    """
    from mjctl.aws.regions import in_each_region
    from mjctl.cli.regions import Target, conclude, rows_document
    from mjctl.queues.operations import list_queues as service

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = asyncio.run(in_each_region(target.contracts, service, concurrency=target.environment.concurrency))
    conclude(target.session, outcomes, _queue_table(outcomes), rows_document("queues", outcomes))


@app.command()
def peek(
    name: NameArgument,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Letters at most, a region.")] = 10,
    bodies: Annotated[bool, typer.Option("--bodies", help="Show the messages too; they hold players' names.")] = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Look at dead letters without consuming them. Each look counts as one more delivery of the letter.

    Example: mjctl queue peek persistence --limit 5
    """
    from mjctl.aws.regions import in_each_region
    from mjctl.cli.regions import Target, conclude, rows_document
    from mjctl.queues import operations

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = asyncio.run(
        in_each_region(target.contracts, lambda contract: operations.peek(contract, name, limit=limit))
    )
    document = rows_document("letters", outcomes, lambda letter: _letter_document(letter, bodies))
    conclude(target.session, outcomes, _letter_table(outcomes, bodies), document)


@app.command()
def redrive(
    name: NameArgument,
    *,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Letters at most, a region.")] = None,
    per_second: Annotated[
        float, typer.Option("--per-second", min=0.1, help="Pace, so that the worker is not flooded.")
    ] = 50.0,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send dead letters to their queue again; a letter is deleted only after the queue has taken it.

    Example: mjctl queue redrive persistence --per-second 20
    """
    from mjctl.aws.regions import in_each_region
    from mjctl.cli.regions import Target, conclude
    from mjctl.queues import operations

    target = Target(env, region, output, all_regions=all_regions)
    with target.session.progress() as progress:
        task = progress.add_task("redriving", total=None)
        moved_by_region: dict[str, int] = {}

        async def one(contract: Any) -> operations.RedriveResult:
            def heard(moved: int) -> None:
                moved_by_region[contract.region] = moved
                progress.update(task, completed=sum(moved_by_region.values()))

            return await operations.redrive(contract, name, limit=limit, per_second=per_second, on_progress=heard)

        outcomes = asyncio.run(in_each_region(target.contracts, one))
    lines = [
        f"{item.region}: {item.value.moved} sent again, {item.value.failed} refused, {item.value.remaining} remain"
        for item in outcomes
        if item.value is not None
    ]
    conclude(target.session, outcomes, "\n".join(lines))


@app.command()
def purge(
    name: NameArgument,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete every dead letter of a queue, for good.

    Example: mjctl queue purge persistence --region us-east-1 --dry-run
    """
    from mjctl.aws.regions import in_each_region
    from mjctl.cli.regions import Target, conclude, regions_document
    from mjctl.cli.tables import counted
    from mjctl.queues import operations

    target = Target(env, region, output, all_regions=all_regions)
    if not dry_run:
        target.session.confirm(f"Delete every dead letter of `{name}` in {target.scope}?", yes=yes)
    outcomes = asyncio.run(
        in_each_region(target.contracts, lambda contract: operations.purge(contract, name, dry_run=dry_run))
    )
    done = "would be deleted" if dry_run else "deleted"
    lines = [
        f"{item.region}: {counted(item.value, 'dead letter')} {done}" for item in outcomes if item.value is not None
    ]
    conclude(
        target.session,
        outcomes,
        "\n".join(lines),
        regions_document(outcomes, lambda count: {"letters": count, "dry_run": dry_run}),
    )


def _queue_table(outcomes: list[RegionOutcome[list[QueueRow]]]) -> DataTable:
    from mjctl.cli.tables import Column, DataTable, human_seconds

    table = DataTable(
        Column("REGION"),
        Column("QUEUE"),
        Column("WAITING", 1, right=True),
        Column("IN FLIGHT", 3, right=True),
        Column("OLDEST", 2, right=True),
        Column("DEAD LETTERS", 1, right=True),
        Column("MAX DELIVERIES", 4, right=True),
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

    from mjctl.cli.tables import Column, DataTable, human_age

    table = DataTable(
        Column("REGION", 3),
        Column("SENT", 1),
        Column("TYPE", 2),
        Column("EVENT"),
        Column("DELIVERIES", 4, right=True),
        Column("BYTES", 5, right=True),
        *([Column("BODY", folds=True)] if bodies else []),
    )
    for outcome in outcomes:
        for letter in outcome.value or ():
            sent = human_age(datetime.fromtimestamp(letter.sent_at, UTC))
            cells = [outcome.region, sent, letter.event_type or "?", letter.event_id or letter.message_id]
            cells += [str(letter.deliveries), str(letter.size_bytes), *([letter.body] if bodies else [])]
            table.add_row(*cells)
    return table


def _letter_document(letter: DeadLetter, bodies: bool) -> dict[str, object]:
    from dataclasses import asdict

    document = asdict(letter)
    if not bodies:
        del document["body"]
    return document
