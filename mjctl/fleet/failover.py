"""Moves players away from a region, and lets players return to the region.

On the target `local`, the API of a closed region refuses new matches and tells clients the addresses of other regions.
On AWS all regions share one DNS name, and Route 53 excludes a closed region from the answers (`mjctl.clients.dns`).

Running matches of a closed region continue to their end. A failover on the target `local` moves no stored data, because
every local region has its own data stores and accounts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gameserver.cluster import closure
from mjctl.clients import dns
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import state
from mjctl.fleet.listing import list_servers
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError

_POLL_SECONDS = 0.5
_PLAYED = ("login", "match")
_OBSERVED = ("service", "zones", "targets", "table", "database", "identity", "certificate")


@dataclass(frozen=True)
class Traffic:
    """Describes the players and the matches of a region, and whether the region is closed.

    Attributes:
        region: The name of the region.
        players: The number of connected players.
        matches: The number of running matches.
        closed_to: The regions to which the API of a closed local region sends players, or None if the region takes
            players. For a closed region on AWS `closed_to` is (), because DNS sends its players to other regions.
    """

    region: str
    players: int
    matches: int
    closed_to: tuple[str, ...] | None


def probes_of(contract: Contract) -> tuple[str, ...]:
    """Return the names of the health checks that tell whether a region can take players.

    On AWS no returned check logs in or plays, because DNS may send the requests of such a check to another
    region.
    """
    return _PLAYED if contract.managed is None else _OBSERVED


async def read_traffic(contract: Contract) -> Traffic:
    """Read the number of players and matches of a region, and whether the region is closed.

    Raises:
        UnreachableError: The state store of the local region, or AWS, does not answer.
        NotFoundError: Route 53 has no health check of the region.
    """
    rows = await list_servers(contract)
    return Traffic(
        contract.region,
        sum(row.players or 0 for row in rows),
        sum(row.matches or 0 for row in rows),
        await closed_to(contract),
    )


async def closed_to(contract: Contract) -> tuple[str, ...] | None:
    """Read whether a region is closed, and to which regions the API of a closed local region sends players.

    Returns:
        The regions to which the API of a closed local region sends players, or None if the region takes players. The
        result for a closed region on AWS is (), because DNS sends its players to other regions.

    Raises:
        UnreachableError: The state store of the local region, or AWS, does not answer.
        NotFoundError: Route 53 has no health check of the region.
    """
    if contract.managed is not None:
        return () if (await dns.region_dns(contract, contract.managed)).excluded else None
    with RegionClients(contract) as clients:
        async with state(contract, clients) as redis:
            closed = closure.decode(await redis.get(closure.KEY))
    return tuple(alternative.region for alternative in closed.elsewhere) if closed else None


def unfit_regions(probes: Sequence[CheckResult]) -> dict[str, list[str]]:
    """Return the regions that cannot take players, each with the summaries of its failed checks.

    A closed local region counts as a region that cannot take players, because its check `match` does not pass.
    """
    unfit: dict[str, list[str]] = {}
    for probe in probes:
        if probe.status == "fail" or (probe.name in _PLAYED and probe.status != "pass"):
            unfit.setdefault(probe.region, []).append(f"check `{probe.name}`: {probe.summary}")
    return unfit


def successors(contracts: Mapping[str, Contract], leaving: str, unfit: Mapping[str, Sequence[str]]) -> list[Contract]:
    """Return the contracts of the regions that can take the players of `leaving`.

    Args:
        contracts: The contracts of all deployed regions, by the name of the region.
        leaving: The region that players leave.
        unfit: The regions that cannot take players, each with the reasons why not.

    Raises:
        ConflictError: No other region than `leaving` can take players.
    """
    fit = [contract for name, contract in contracts.items() if name != leaving and name not in unfit]
    if fit:
        return fit
    contract = contracts.get(leaving) or next(iter(contracts.values()))
    if not unfit:
        raise ConflictError(
            f"no other region is deployed that could take the players of {leaving}",
            where=f"region {leaving}",
            hint=f"`mjctl deploy --env {contract.environment} --region NAME` deploys another region",
        )
    reasons = [f"{name} cannot take players: {reason}" for name, reasons in unfit.items() for reason in reasons]
    regions = " ".join(f"--region {name}" for name in unfit)
    raise ConflictError(
        "\n".join([f"no other region can take the players of {leaving}", *reasons]),
        where=f"region {leaving}",
        hint=f"`mjctl health --env {contract.environment} {regions}` says how to repair a region",
    )


async def close_region(contract: Contract, elsewhere: Sequence[Contract]) -> None:
    """Close a region, so that new players of the region are sent to other regions.

    Args:
        contract: The contract of the region to close.
        elsewhere: The regions to which the API of a closed local region sends players. On AWS `elsewhere` is ignored,
            because DNS chooses the other region.

    Raises:
        UnreachableError: The state store of the local region, or AWS, does not answer, so the region is not closed.
    """
    if contract.managed is not None:
        await dns.set_excluded(contract, contract.managed, excluded=True)
        return
    alternatives = tuple(closure.Alternative(other.region, other.endpoints.api) for other in elsewhere)
    written = closure.encode(closure.Closure(time.time_ns() // 1_000_000, alternatives))
    with RegionClients(contract) as clients:
        async with state(contract, clients) as redis:
            await redis.set(closure.KEY, written)


async def reopen_region(contract: Contract) -> bool:
    """Open a closed region, so that it takes new matches again.

    Returns:
        True if the region was closed.

    Raises:
        UnreachableError: The state store of the local region, or AWS, does not answer.
    """
    if contract.managed is not None:
        return await dns.set_excluded(contract, contract.managed, excluded=False)
    with RegionClients(contract) as clients:
        async with state(contract, clients) as redis:
            return bool(await redis.delete(closure.KEY))


async def wait_until_empty(contract: Contract, wait_seconds: float, say: Callable[[str], None]) -> Traffic:
    """Wait until the last match of a closed region has ended, but not longer than `wait_seconds`.

    Returns:
        The traffic of the region at the end of the wait.

    Raises:
        UnreachableError: The state store of the local region, or AWS, does not answer.
        NotFoundError: Route 53 has no health check of the region.
    """
    deadline = time.monotonic() + wait_seconds
    before = -1
    while True:
        now = await read_traffic(contract)
        if now.matches != before:
            say(f"{contract.region}: {now.matches} matches with {now.players} players are still running")
            before = now.matches
        if not now.matches or time.monotonic() >= deadline:
            return now
        await asyncio.sleep(_POLL_SECONDS)
