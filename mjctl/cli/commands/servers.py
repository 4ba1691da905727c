"""`mjctl servers`: lists, drains, restarts and scales game servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import (
    AllRegionsOption,
    EnvOption,
    EveryRegionOption,
    LockTimeoutOption,
    MessageOption,
    OutputOption,
    RegionOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat, wanted_regions
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    from mjctl.cli.output.tables import DataTable
    from mjctl.clients.regions import RegionOutcome
    from mjctl.fleet.model import Say, ServerChange, ServerRow
    from mjctl.models.contract import Contract

ServerArguments = Annotated[
    list[str], typer.Argument(metavar="SERVER", help="Names of servers, as `mjctl servers list` shows them.")
]
OptionalServerArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SERVER",
        help="Names of servers, as `mjctl servers list` shows them. Without names: all servers of the chosen regions.",
    ),
]

DrainMessageOption = Annotated[
    str | None,
    typer.Option(
        "--message", "-m", metavar="TEXT", help="Reason for the drain, which `servers list` and `health` show."
    ),
]

app = CommandGroup(no_args_is_help=True, help="List, drain, restart and scale game servers.")


@app.command("list")
def list_servers(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List game servers with zone, state, players and matches.

    The list also has the process or task of each server, its uptime and the number of its incidents.

    The exit code is 0 also if a server is down. `mjctl health` ends with exit code 3 if a server is down.

    Example: mjctl servers list --region us-east-1
    """
    from mjctl.cli.target import Target, conclude
    from mjctl.fleet.listing import list_servers as service

    target = Target(env, region, output, all_regions=all_regions)
    outcomes = target.in_each_region(service)
    conclude(target.session, outcomes, _table(outcomes), lambda rows: {"servers": rows})


@app.command()
def drain(
    names: ServerArguments,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    message: DrainMessageOption = None,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Take servers out of service after their matches have moved.

    The command asks for confirmation first. The matches continue on other servers of the region.

    `servers list` and `health` show who drained a server, when and why. `mjctl servers restart SERVER` returns the
    server to service. A deploy leaves a drained server out of service, unless the deploy replaces the server. A deploy
    that replaces a drained server reports the replacement. On AWS, a drained server becomes unhealthy for the load
    balancer, and ECS starts another task in its place.

    Example: mjctl servers drain game-us-east-1a-1 --region us-east-1 --message "new kernel" --yes
    """
    from mjctl.fleet.control import drain as service

    _exchange(partial(service, message=message), "Take out of service", names, env, region, all_regions, yes, output)


@app.command()
def restart(
    names: OptionalServerArguments = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Restart servers one at a time, after their matches have moved.

    The command asks for confirmation first. The matches continue on other servers of the region.

    On AWS, the command stops the task of a server and waits until ECS has started its replacement.

    Example: mjctl servers restart --region us-east-1 --yes
    """
    from mjctl.fleet.control import restart as service

    _exchange(service, "Restart", names or [], env, region, all_regions, yes, output)


@app.command()
def scale(
    servers_per_zone: Annotated[
        int | None,
        typer.Argument(metavar="SERVERS_PER_ZONE", min=1, max=50, help="New number of game servers in each zone."),
    ] = None,
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", help="Return to the number of game servers in the environment's file (game.servers_per_zone)."
        ),
    ] = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    auto_approve: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
    message: MessageOption = None,
) -> None:
    """Change the number of game servers in each zone.

    The command shows its plan and asks for confirmation first. Terraform starts or removes the game servers, with the
    code of the deployed revision.

    Later deploys keep the new number of game servers until `mjctl servers scale --reset`. To change the number of game
    servers permanently, edit game.servers_per_zone in the environment's file.

    On AWS the command sets the smallest number of game servers in each zone, because autoscaling can start more ECS
    tasks.

    Example: mjctl servers scale 2 --region us-east-1 --auto-approve
    """
    from mjctl.cli.deploy_run import emit_results, end, open_run

    if (servers_per_zone is None) == (not reset):
        raise UsageError(
            "give either the number of servers in each zone or --reset",
            hint="for example `mjctl servers scale 2 --region us-east-1`",
        )
    run = open_run("servers scale", env, output, message=message, lock_timeout=lock_timeout)
    result = run.deploys.scale(
        wanted_regions(run.environment, region, all_regions),
        servers_per_zone,
        approve=run.approval(f"Apply these changes to {run.environment.name}", auto_approve),
        named=not all_regions,
    )
    end(emit_results(run, result))


def _exchange(
    service: Callable[[Contract, Sequence[str], Say], Awaitable[list[ServerChange]]],
    verb: str,
    names: Sequence[str],
    env: str,
    region: list[str] | None,
    all_regions: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Ask for confirmation, then drain or restart servers in one region after another.

    After a failure, the servers of the next regions are not changed.

    Args:
        verb: the first words of the question, such as `Restart`.
    """
    from mjctl.cli.output.tables import Column, DataTable
    from mjctl.cli.target import Target

    target = Target(env, region, output, all_regions=all_regions)
    target.session.confirm(f"{verb} {', '.join(names) or 'every server'} in {target.scope}?", yes=yes)

    def say(text: str) -> None:
        target.session.say(text)

    async def work() -> dict[str, list[ServerChange]]:
        return {name: await service(contract, names, say) for name, contract in target.contracts.items()}

    changes = target.run(work())
    table = DataTable(
        Column("REGION", 3),
        Column("SERVER"),
        Column("ZONE", 2),
        Column("DONE"),
        Column("MATCHES", 1, right=True),
        Column("SECONDS", 4, right=True),
    )
    for name, servers in changes.items():
        for server in servers:
            table.add_row(name, server.id, server.zone, server.action, str(server.matches), f"{server.seconds:.1f}")
    target.session.emit(table, regions=[{"region": name, "servers": servers} for name, servers in changes.items()])


def _table(outcomes: list[RegionOutcome[list[ServerRow]]]) -> DataTable:
    from mjctl.cli.output.tables import Column, DataTable, human_seconds

    table = DataTable(
        Column("SERVER"),
        Column("ZONE", 4),
        Column("STATE"),
        Column("PID OR TASK", 5, right=True),
        Column("PLAYERS", 1, right=True),
        Column("MATCHES", 2, right=True),
        Column("UPTIME", 3, right=True),
        Column("INCIDENTS", 2, right=True),
        Column("DRAIN OR LAST INCIDENT", folds=True),
    )
    for outcome in outcomes:
        for row in outcome.value or ():
            style = {"ready": "green", "draining": "yellow", "drained": "yellow"}.get(row.state, "red")
            table.add_row(
                row.id,
                row.zone,
                (row.state, style),
                row.task or _number(row.pid),
                f"{row.players}/{row.max_players}" if row.players is not None else "-",
                _number(row.matches),
                human_seconds(row.uptime_seconds),
                str(row.incidents),
                str(row.drained) if row.drained else row.last_incident or "",
            )
    return table


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
