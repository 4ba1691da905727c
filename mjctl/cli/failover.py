"""`mjctl failover`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.base import EnvOption, Exit, OutputFormat, OutputOption, YesOption, chosen_regions
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.regions import Target
    from mjctl.models.check import CheckResult
    from mjctl.models.contract import Contract


def failover(
    region: Annotated[str, typer.Option("--region", "-r", envvar="MJCTL_REGION", help="The region to leave.")],
    env: EnvOption = "local",
    restore: Annotated[
        bool, typer.Option("--restore", envvar="MJCTL_RESTORE", help="Let the region take matches again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="MJCTL_DRY_RUN", help="Probe the other regions, and move nobody.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, envvar="MJCTL_WAIT", help="Seconds to wait for running matches to end.")
    ] = 0,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Send the players of a region to the others, after a real log-in and a real match there; --restore undoes it.

    The region's API takes no new matches and names the other regions; running matches are played to their end. On the
    target `local` accounts and results stay with their region. On AWS the others are looked at, as `mjctl health` does,
    and DNS leaves the region out within minutes. Exit code 3 when the probes afterwards fail.

    Example: mjctl failover --region us-east-1 --dry-run
    """
    from mjctl.cli.regions import Target
    from mjctl.fleet.failover import close, empty, successors, traffic

    if restore and dry_run:
        raise UsageError("--restore and --dry-run exclude each other")
    target = Target(env, None, output)
    (name,) = chosen_regions(target.environment, [region]) or (region,)
    contract = _deployed(target, name)
    if restore:
        _restore(target, contract, yes)
        return
    others = {other: one for other, one in target.contracts.items() if other != name}
    unfit = _unfit(_probe(target, others)) + _left_already(others)
    elsewhere = successors(target.contracts, name, unfit)
    before = asyncio.run(traffic(contract))
    takers = ", ".join(one.region for one in elsewhere)
    if dry_run:
        _emit(target, {"action": "none", "region": name, "elsewhere": takers.split(", "), "traffic": before})
        return
    target.session.confirm(f"Send the players of {target.environment.name} {name} to {takers}?", yes=yes)
    asyncio.run(close(contract, elsewhere))

    def say(text: str) -> None:
        target.session.err.print(text, markup=False)

    left = asyncio.run(empty(contract, wait, say))
    probes = _probe(target, {one.region: one for one in elsewhere})
    refused = _refuses(target, contract)
    _emit(target, {"action": "closed", "region": name, "elsewhere": takers.split(", "), "traffic": left}, probes)
    if _unfit(probes) or not refused:
        raise Exit(ExitCode.UNHEALTHY)


def _restore(target: Target, contract: Contract, yes: bool) -> None:
    from mjctl.fleet.failover import reopen, traffic

    target.session.confirm(f"Let {target.environment.name} {contract.region} take matches again?", yes=yes)
    was_closed = asyncio.run(reopen(contract))
    probes = _probe(target, {contract.region: contract})
    action = "restored" if was_closed else "none"
    now = asyncio.run(traffic(contract))
    _emit(target, {"action": action, "region": contract.region, "elsewhere": [], "traffic": now}, probes)
    if _unfit(probes):
        raise Exit(ExitCode.UNHEALTHY)


def _deployed(target: Target, region: str) -> Contract:
    from mjctl.terraform.contracts import deployed_contracts

    found = target.contracts.get(region)
    return found or deployed_contracts(target.workspace, target.environment, [region])[region]


def _refuses(target: Target, contract: Contract) -> bool:
    """Whether the region takes no new match any more; on AWS, whether DNS was told so."""
    from mjctl.fleet.failover import traffic

    if contract.managed is not None:
        return asyncio.run(traffic(contract)).closed_to is not None
    return any(one.evidence.get("closed") for one in _probe(target, {contract.region: contract}, ["match"]))


def _left_already(contracts: Mapping[str, Contract]) -> list[str]:
    """Regions that DNS leaves out; where there is no DNS, the probe of a match has said so."""
    from mjctl.fleet import dns

    return [
        name
        for name, contract in contracts.items()
        if contract.managed is not None and asyncio.run(dns.is_left(contract, contract.managed))
    ]


def _probe(target: Target, contracts: Mapping[str, Contract], only: Sequence[str] | None = None) -> list[CheckResult]:
    """Whether each region is fit: a real log-in and a real match, or what health says of it."""
    from mjctl.fleet.failover import probes_of
    from mjctl.health.runner import run_health

    if not contracts:
        return []
    only = only or probes_of(next(iter(contracts.values())))
    folders = {name: target.workspace.region_dir(target.environment.name, name) / "secrets" for name in contracts}
    report = asyncio.run(run_health(target.environment.name, contracts, folders, only=only))
    return list(report.results)


def _unfit(probes: Sequence[CheckResult]) -> list[str]:
    """Regions in which a probe failed, or which are closed themselves (a match there warns of it)."""
    closed = ("login", "match")
    return list(
        dict.fromkeys(
            one.region for one in probes if one.status == "fail" or (one.name in closed and one.status != "pass")
        )
    )


def _emit(target: Target, said: dict[str, Any], probes: Sequence[CheckResult] = ()) -> None:
    from rich.text import Text

    words = {"none": "nothing was changed", "closed": "takes no new matches", "restored": "takes matches again"}
    traffic = said["traffic"]
    lines = [Text.assemble((said["region"], "bold"), f": {words[said['action']]}")]
    if said["elsewhere"]:
        verb = "would be sent" if said["action"] == "none" else "are sent"
        lines.append(Text(f"players {verb} to {', '.join(said['elsewhere'])}"))
    lines.append(Text(f"{traffic.matches} matches with {traffic.players} players are played in {said['region']}"))
    for one in probes:
        lines.append(Text(f"{one.region} {one.name}: {one.status}, {one.summary}"))
    document = {
        **said,
        "traffic": {"matches": traffic.matches, "players": traffic.players},
        "probes": [
            {"region": one.region, "name": one.name, "status": one.status, "summary": one.summary} for one in probes
        ],
    }
    target.session.emit(Text("\n").join(lines), data=document)
