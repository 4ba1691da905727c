"""Moving players away from a region, and back.

On `local` the region's API stops placing matches and names the other regions to whoever asks for one. On AWS all
regions share one name, and DNS no longer names this region (`mjctl.clients.dns`). Matches that run there are played to
their end. What is stored stays where it is: on `local` every region has stores and accounts of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gameserver.cluster import closure
from mjctl.clients import dns
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import cache
from mjctl.fleet.listing import list_servers
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError

_POLL_SECONDS = 0.5
_PLAYED = ("login", "match")
_OBSERVED = ("service", "zones", "targets", "table", "database", "identity", "certificate")


@dataclass(frozen=True)
class Traffic:
    """What a region carries now. `closed_to`: the regions its players are sent to, () where DNS decides; None: open."""

    region: str
    players: int
    matches: int
    closed_to: tuple[str, ...] | None


def probes_of(contract: Contract) -> tuple[str, ...]:
    """The checks that say whether a region is fit to take players; an address that all regions share says nothing."""
    return _PLAYED if contract.managed is None else _OBSERVED


async def read_traffic(contract: Contract) -> Traffic:
    """Read what one region carries.

    Raises:
        UnreachableError: its Redis, or AWS, does not answer.
        NotFoundError: DNS has no health check of the region.
    """
    rows = await list_servers(contract)
    return Traffic(
        contract.region,
        sum(row.players or 0 for row in rows),
        sum(row.matches or 0 for row in rows),
        await closed_to(contract),
    )


async def closed_to(contract: Contract) -> tuple[str, ...] | None:
    """The regions that a region's players are sent to, () where DNS decides; None: the region takes players.

    Raises:
        UnreachableError: its Redis, or AWS, does not answer.
        NotFoundError: DNS has no health check of the region.
    """
    if contract.managed is not None:
        return () if (await dns.region_dns(contract, contract.managed)).excluded else None
    with RegionClients(contract) as clients:
        async with cache(contract, clients) as redis:
            closed = closure.decode(await redis.get(closure.KEY))
    return tuple(one.region for one in closed.elsewhere) if closed else None


def unfit_regions(probes: Sequence[CheckResult]) -> dict[str, list[str]]:
    """Return the regions that cannot take players, and for each the checks that say so.

    A region that is closed itself is among them: the probe of a match there warns of it.
    """
    unfit: dict[str, list[str]] = {}
    for probe in probes:
        if probe.status == "fail" or (probe.name in _PLAYED and probe.status != "pass"):
            unfit.setdefault(probe.region, []).append(f"check `{probe.name}`: {probe.summary}")
    return unfit


def successors(contracts: Mapping[str, Contract], leaving: str, unfit: Mapping[str, Sequence[str]]) -> list[Contract]:
    """The deployed regions that can take over from `leaving`.

    Args:
        unfit: the regions that cannot, and for each the findings that make it unfit.

    Raises:
        ConflictError: there is none, so the players would have nowhere to go.
    """
    left = [contract for name, contract in contracts.items() if name != leaving and name not in unfit]
    if left:
        return left
    contract = contracts.get(leaving) or next(iter(contracts.values()))
    if not unfit:
        raise ConflictError(
            f"players of {leaving} would have nowhere to go: no other region is deployed",
            where=f"region {leaving}",
            hint=f"`mjctl deploy --env {contract.environment} --region NAME` brings another region up",
        )
    reasons = [f"{name} is not fit: {reason}" for name, found in unfit.items() for reason in found]
    regions = " ".join(f"--region {name}" for name in unfit)
    raise ConflictError(
        "\n".join([f"players of {leaving} would have nowhere to go", *reasons]),
        where=f"region {leaving}",
        hint=f"`mjctl health --env {contract.environment} {regions}` says how to repair it",
    )


async def close_region(contract: Contract, elsewhere: Sequence[Contract]) -> None:
    """Have the region's API, or DNS, send its players to `elsewhere` from now on.

    Raises:
        UnreachableError: the region's Redis does not answer: players that reach its API cannot be told.
    """
    if contract.managed is not None:
        await dns.set_excluded(contract, contract.managed, excluded=True)
        return
    alternatives = tuple(closure.Alternative(one.region, one.endpoints.api) for one in elsewhere)
    written = closure.encode(closure.Closure(time.time_ns() // 1_000_000, alternatives))
    with RegionClients(contract) as clients:
        async with cache(contract, clients) as redis:
            await redis.set(closure.KEY, written)


async def reopen_region(contract: Contract) -> bool:
    """Let the region take matches again.

    Returns:
        True if it was closed.

    Raises:
        UnreachableError: the region's Redis does not answer.
    """
    if contract.managed is not None:
        return await dns.set_excluded(contract, contract.managed, excluded=False)
    with RegionClients(contract) as clients:
        async with cache(contract, clients) as redis:
            return bool(await redis.delete(closure.KEY))


async def wait_until_empty(contract: Contract, wait_seconds: float, say: Callable[[str], None]) -> Traffic:
    """Wait until the last match of a closed region has ended, but no longer than `wait_seconds`.

    Returns:
        What the region carries then.
    """
    deadline = time.monotonic() + wait_seconds
    before = -1
    while True:
        now = await read_traffic(contract)
        if now.matches != before:
            say(f"{contract.region}: {now.matches} matches with {now.players} players are still played")
            before = now.matches
        if not now.matches or time.monotonic() >= deadline:
            return now
        await asyncio.sleep(_POLL_SECONDS)
