"""`mjctl servers`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from mjctl.cli.base import EnvOption, OutputFormat, OutputOption, RegionOption

if TYPE_CHECKING:
    from rich.table import Table

    from mjctl.aws.regions import RegionOutcome
    from mjctl.fleet.listing import ServerRow

app = typer.Typer(no_args_is_help=True, help="The game servers, over one or several regions.")


@app.callback()
def _group() -> None:
    """The game servers, over one or several regions."""


@app.command("list")
def list_servers(
    env: EnvOption = "local", region: RegionOption = None, output: OutputOption = OutputFormat.TEXT
) -> None:
    """Every game server: zone, state, process, players, matches, uptime, and unexpected ends so far.

    A server that is down is shown as such; the exit code is 0 (`mjctl health` judges).

    Example: mjctl servers list --region us-east-1
    """
    from mjctl.aws.regions import in_each_region
    from mjctl.cli.regions import Target, conclude, rows_document
    from mjctl.fleet.listing import list_servers as service

    target = Target(env, region, output)
    outcomes = asyncio.run(in_each_region(target.contracts, service, concurrency=target.environment.concurrency))
    conclude(target.session, outcomes, _table(outcomes), rows_document("servers", outcomes))


def _table(outcomes: list[RegionOutcome[list[ServerRow]]]) -> Table:
    from rich.text import Text

    from mjctl.cli.tables import human_seconds, plain_table

    table = plain_table(
        "SERVER", "ZONE", "STATE", ">PID", ">PLAYERS", ">MATCHES", ">UPTIME", ">INCIDENTS", "LAST INCIDENT"
    )
    for outcome in outcomes:
        for row in outcome.value or ():
            style = {"ready": "green", "draining": "yellow"}.get(row.state, "red")
            table.add_row(
                row.id,
                row.zone,
                Text(row.state, style=style),
                _number(row.pid),
                f"{row.players}/{row.max_players}" if row.players is not None else "-",
                _number(row.matches),
                human_seconds(row.uptime_seconds),
                str(row.incidents),
                Text(row.last_incident or ""),
            )
    return table


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
