"""`mjctl outputs | status | history | unlock`: looking at what is deployed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.deploy_run import open_run
from mjctl.cli.options import AllRegionsOption, EnvOption, OutputOption, RegionOption
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
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the addresses, tables and queues of deployed regions.

    The document holds no secret.

    Without --region also what a production environment has once: foundation and edge.

    Example: mjctl outputs --region us-east-1 --output json
    """
    from mjctl.cli.output.tables import Column, DataTable
    from mjctl.terraform.contracts import deployed_contracts, shared_contracts

    run = open_run("outputs", env, output)
    regions = chosen_regions(run.environment, region, all_regions)
    # `--all-regions` means every deployed region: a region that is not deployed publishes nothing.
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
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the state, revision and lock of each region.

    Also since when the revision runs, and which regions take the players of a region that is failed over.

    Example: mjctl status --all-regions
    """
    from mjctl.cli.output.run_view import status_table
    from mjctl.deploy.status import unit_status

    run = open_run("status", env, output)
    units = chosen_regions(run.environment, region) if not all_regions else ()
    found = [unit_status(run.workspace, run.environment, unit) for unit in units or run.environment.units]
    failovers = _failovers(run, found)
    documents = [
        {
            "region": one.unit,
            **{name: value for name, value in asdict(one).items() if name != "unit"},
            "failed_over": None if failovers[one.unit].error else failovers[one.unit].value is not None,
            "players_go_to": list(failovers[one.unit].value or ()),
        }
        for one in found
    ]
    excluded = [region for region, outcome in failovers.items() if outcome.value is not None]
    run.session.emit(status_table(found, excluded), regions=documents)
    run.session.say(*_advice(run.environment.name, found, failovers))


def _failovers(run: Run, found: Sequence[UnitStatus]) -> dict[str, RegionOutcome[tuple[str, ...] | None]]:
    """For each unit where its players are sent; None: the region takes them, or it is no region, or not deployed."""
    import asyncio

    from mjctl.clients.regions import RegionOutcome, in_each_region
    from mjctl.fleet.failover import closed_to
    from mjctl.models.errors import NotFoundError
    from mjctl.terraform.contracts import deployed_contracts

    contracts: dict[str, Contract] = {}
    for one in found:
        if one.unit in run.environment.regions and one.state != "absent":
            # A region that is half made may have published nothing yet.
            with suppress(NotFoundError):
                contracts |= deployed_contracts(run.workspace, run.environment, [one.unit])
    outcomes = asyncio.run(in_each_region(contracts, closed_to, concurrency=run.environment.concurrency))
    return {one.unit: RegionOutcome(one.unit) for one in found} | {item.region: item for item in outcomes}


def _advice(
    environment: str,
    found: Sequence[UnitStatus],
    failovers: Mapping[str, RegionOutcome[tuple[str, ...] | None]],
) -> list[str]:
    """What to do about regions that are half made or failed over."""
    from mjctl.models.environment import EDGE, FOUNDATION

    said = []
    for one in found:
        scope = f"--env {environment} --region {one.unit}"
        elsewhere = failovers[one.unit]
        if one.state == "partial" and one.held_by is None and one.unit not in (FOUNDATION, EDGE):
            said.append(f"{one.unit}: the last deploy was cut short; `mjctl deploy {scope}` finishes it")
        if elsewhere.value is not None:
            where = ", ".join(elsewhere.value) or "the other regions"
            said.append(f"{one.unit}: players go to {where}; `mjctl failover {scope} --restore` brings them back")
        if elsewhere.error is not None:
            said.append(f"{one.unit}: cannot see whether players are sent elsewhere: {elsewhere.error.what}")
    return said


def history(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="COUNT", min=1, max=10_000, help="Runs at most.")] = 20,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show past runs: who, what, when and the result; newest first.

    Example: mjctl history --region us-east-1 --limit 5
    """
    from mjctl.deploy.history import History

    run = open_run("history", env, output)
    regions = chosen_regions(run.environment, region, all_regions)
    records = History(run.workspace, run.environment).records()
    shown = [one for one in records if not regions or set(regions) & set(one.names)][:limit]
    run.session.emit(_history_table(shown), runs=shown)


def unlock(
    env: EnvOption = "local",
    region: RegionOption = None,
    lock_id: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="LOCK_ID", envvar="MJCTL_LOCK_ID", help="The lock's id, as the error message names it."
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove a state lock whose process has ended.

    If the process still runs, the command names it and keeps the lock.

    In a production environment --region also takes `foundation` and `edge`.

    Example: mjctl unlock --region us-east-1
    """
    import asyncio

    from mjctl.deploy.unlock import unlock_region

    run = open_run("unlock", env, output)
    # Foundation and edge have a state each too, and can be named here as a region is.
    units = tuple(dict.fromkeys(region or ()))
    if not set(units) <= set(run.environment.units):
        units = chosen_regions(run.environment, region)
    if len(units) != 1:
        raise UsageError("unlock takes exactly one region", hint="mjctl unlock --region us-east-1")
    said = asyncio.run(unlock_region(run.workspace, run.environment, units[0], lock_id))
    run.session.emit(said, regions=[{"region": units[0], "result": said}])


def _plain(value: object) -> str:
    """A published value in the words of its file: no Python in front of an operator."""
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
    for one in records:
        regions = Text(", ").join(
            styled(f"{part.region} ").append_text(outcome_text(part.outcome)) for part in one.regions
        )
        table.add_row(
            human_age(one.at),
            one.command,
            one.who,
            one.revision or "",
            one.commit or "",
            "" if one.seconds is None else f"{one.seconds:.1f}",
            "" if one.exit_code is None else str(one.exit_code),
            regions if one.regions else (f"{', '.join(one.names)}: not finished", "yellow"),
            one.message or "",
        )
    return table


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """`{"a": {"b": 1}}` becomes `[("a.b", 1)]`."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [leaf for number, inner in enumerate(value) for leaf in _leaves(inner, f"{path}[{number}]")]
    return [(path, value)]
