"""`mjctl outputs`, `status`, `history` and `unlock`: show what is deployed, and remove the lock of an ended process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.deploy_run import open_run
from mjctl.cli.options import EnvOption, EveryRegionOption, OutputOption, RegionOption, WholeEnvironmentOption
from mjctl.cli.session import OutputFormat, chosen_regions
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mjctl.cli.deploy_run import (
        Run,
    )
    from mjctl.cli.output.tables import DataTable
    from mjctl.clients.regions import RegionOutcome
    from mjctl.deploy.history import Record
    from mjctl.deploy.status import UnitStatus
    from mjctl.models.contract import Contract


def outputs(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the addresses, tables and queues of deployed regions.

    The output contains no secrets. Without --region, the command also shows the outputs of foundation and edge, which
    an environment on AWS has once.

    Example: mjctl outputs --region us-east-1 --output json
    """
    from mjctl.cli.output.tables import Column, DataTable
    from mjctl.terraform.contracts import deployed_contracts, shared_contracts

    run = open_run("outputs", env, output)
    regions = chosen_regions(run.environment, region, all_regions)
    # With --all-regions, a region that is not deployed is left out, because it publishes no outputs.
    contracts = deployed_contracts(run.workspace, run.environment, () if all_regions else regions)
    published = {name: contract.model_dump(mode="json") for name, contract in contracts.items()}
    if not regions or all_regions:
        published |= shared_contracts(run.workspace, run.environment)
    table = DataTable(Column("REGION", 1), Column("OUTPUT"), Column("VALUE", folds=True))
    for name, contract in published.items():
        for field, value in _leaves(contract):
            table.add_row(name, field, _plain(value))
    run.session.emit(table, regions=[{"region": name, "outputs": outputs} for name, outputs in published.items()])


def status(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: WholeEnvironmentOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the state, revision and lock of each region.

    The command also shows since when the revision runs, and which regions receive the players of a region that was
    failed over. The command changes nothing.

    Example: mjctl status --all-regions
    """
    from mjctl.cli.output.run_view import status_table
    from mjctl.deploy.status import unit_status

    run = open_run("status", env, output)
    units = chosen_regions(run.environment, region) if not all_regions else ()
    statuses = [unit_status(run.workspace, run.environment, unit) for unit in units or run.environment.units]
    failovers = _failovers(run, statuses)
    documents = [
        {
            "region": state.unit,
            **{name: value for name, value in asdict(state).items() if name != "unit"},
            "failed_over": None if failovers[state.unit].error else failovers[state.unit].value is not None,
            "players_go_to": list(failovers[state.unit].value or ()),
        }
        for state in statuses
    ]
    excluded = [region for region, outcome in failovers.items() if outcome.value is not None]
    run.session.emit(status_table(statuses, excluded), regions=documents)
    run.session.say(*_advice(run.environment.name, statuses, failovers))


def _failovers(run: Run, statuses: Sequence[UnitStatus]) -> dict[str, RegionOutcome[tuple[str, ...] | None]]:
    """Read which regions send their players to other regions after `mjctl failover`.

    Returns:
        unit -> the regions to which the unit's players are sent, or () on AWS, where DNS chooses the regions. The
        value is None for a region that takes players or is not deployed, and for foundation and edge.
    """
    from mjctl import event_loop
    from mjctl.clients.regions import RegionOutcome, in_each_region
    from mjctl.fleet.failover import closed_to
    from mjctl.models.errors import NotFoundError
    from mjctl.terraform.contracts import deployed_contracts

    contracts: dict[str, Contract] = {}
    for state in statuses:
        if state.unit in run.environment.regions and state.state != "absent":
            # A missing contract is no error, because a region whose first deploy was interrupted has not published a
            # contract.
            with suppress(NotFoundError):
                contracts |= deployed_contracts(run.workspace, run.environment, [state.unit])
    outcomes = event_loop.run(in_each_region(contracts, closed_to, concurrency=run.environment.concurrency))
    return {state.unit: RegionOutcome(state.unit) for state in statuses} | {item.region: item for item in outcomes}


def _advice(
    environment: str,
    statuses: Sequence[UnitStatus],
    failovers: Mapping[str, RegionOutcome[tuple[str, ...] | None]],
) -> list[str]:
    """Return one line of advice for each region whose deploy was interrupted or that is failed over."""
    from mjctl.models.environment import EDGE, FOUNDATION

    advice = []
    for state in statuses:
        scope = f"--env {environment} --region {state.unit}"
        elsewhere = failovers[state.unit]
        if state.state == "partial" and state.held_by is None and state.unit not in (FOUNDATION, EDGE):
            advice.append(f"{state.unit}: the last deploy was interrupted; `mjctl deploy {scope}` completes it")
        if elsewhere.value is not None:
            where = ", ".join(elsewhere.value) or "the other regions"
            advice.append(f"{state.unit}: players go to {where}; `mjctl failover {scope} --restore` brings them back")
        if elsewhere.error is not None:
            advice.append(f"{state.unit}: cannot read whether players go to other regions: {elsewhere.error.what}")
    return advice


def history(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: WholeEnvironmentOption = False,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", metavar="COUNT", min=1, max=10_000, help="Number of runs to show at most."),
    ] = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show past runs, newest first: command, user, time and result.

    The history contains the runs of deploy, rollback, destroy and servers scale, including runs that failed.

    Example: mjctl history --region us-east-1 --limit 5
    """
    from mjctl.deploy.history import History

    run = open_run("history", env, output)
    regions = chosen_regions(run.environment, region, all_regions)
    records = History(run.workspace, run.environment).records()
    shown = [record for record in records if not regions or set(regions) & set(record.names)][:limit]
    run.session.emit(_history_table(shown), runs=shown)


def unlock(
    env: EnvOption = "local",
    region: RegionOption = None,
    lock_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="LOCK_ID",
            envvar="MJCTL_LOCK_ID",
            help="Id of the lock, from the error that reports the lock. --id is required for a lock that another "
            "machine holds.",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove the state lock of a process that has ended.

    If the process that holds the lock still runs, the command names the process and keeps the lock. The command asks
    for no confirmation.

    Give exactly one --region. In an environment on AWS, `--region foundation` and `--region edge` are valid too.

    Example: mjctl unlock --region us-east-1
    """
    from mjctl import event_loop
    from mjctl.deploy.unlock import unlock_region

    run = open_run("unlock", env, output)
    # The states of the units foundation and edge can be locked too, so `mjctl unlock --region` accepts their names.
    units = tuple(dict.fromkeys(region or ()))
    if not set(units) <= set(run.environment.units):
        units = chosen_regions(run.environment, region)
    if len(units) != 1:
        raise UsageError(
            "unlock needs exactly one region",
            where=f"environment {run.environment.name}: {', '.join(run.environment.units)}",
            hint="for example `mjctl unlock --region us-east-1`",
        )
    result = event_loop.run(unlock_region(run.workspace, run.environment, units[0], lock_id))
    run.session.emit(result, regions=[{"region": units[0], "result": result}])


def _plain(value: object) -> str:
    """Return the value of an output as text for people: `true`, `-` for null, and `a, b` for a list."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_plain, value)) or "-" if isinstance(value, list | tuple) else str(value)


def _history_table(records: Sequence[Record]) -> DataTable:
    from rich.text import Text

    from mjctl.cli.output.run_view import outcome_text
    from mjctl.cli.output.tables import Column, DataTable, human_age, styled

    table = DataTable(
        Column("STARTED"),
        Column("COMMAND"),
        Column("WHO", 2),
        Column("REVISION", 3),
        Column("COMMIT", 5),
        Column("SECONDS", 6, right=True),
        Column("CODE", 4, right=True),
        Column("REGIONS", 1),
        Column("MESSAGE", folds=True),
    )
    for record in records:
        regions = Text(", ").join(
            styled(f"{part.region} ").append_text(outcome_text(part.outcome)) for part in record.regions
        )
        table.add_row(
            human_age(record.at),
            record.command,
            record.who,
            record.revision or "",
            record.commit or "",
            "" if record.seconds is None else f"{record.seconds:.1f}",
            "" if record.exit_code is None else str(record.exit_code),
            regions if record.regions else (f"{', '.join(record.names)}: not finished", "yellow"),
            record.message or "",
        )
    return table


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Flatten nested values to (path, value): `{"a": {"b": 1}}` becomes `[("a.b", 1)]`."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [leaf for number, inner in enumerate(value) for leaf in _leaves(inner, f"{path}[{number}]")]
    return [(path, value)]
