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
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError

_LOOK_SECONDS = 0.5
_PLAYED = ("login", "match")
_LOOKED_AT = ("service", "zones", "targets", "table", "database", "identity", "certificate")


@dataclass(frozen=True)
class Traffic:
    """What a region carries now. `closed_to`: the regions its players are sent to, () where DNS decides; None: open."""

    region: str
    players: int
    matches: int
    closed_to: tuple[str, ...] | None


def probes_of(contract: Contract) -> tuple[str, ...]:
    """The checks that say whether a region is fit to take players; an address that all regions share says nothing."""
    return _PLAYED if contract.managed is None else _LOOKED_AT


async def traffic(contract: Contract) -> Traffic:
    """Look at one region.

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


async def close(contract: Contract, elsewhere: Sequence[Contract]) -> None:
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


async def reopen(contract: Contract) -> bool:
    """Have the region take matches again; whether it was closed.

    Raises:
        UnreachableError: the region's Redis does not answer.
    """
    if contract.managed is not None:
        return await dns.set_excluded(contract, contract.managed, excluded=False)
    with RegionClients(contract) as clients:
        async with cache(contract, clients) as redis:
            return bool(await redis.delete(closure.KEY))


async def empty(contract: Contract, wait_seconds: float, say: Callable[[str], None]) -> Traffic:
    """Wait until the last match of a closed region has ended, at most so long; what is left then."""
    deadline = time.monotonic() + wait_seconds
    before = -1
    while True:
        now = await traffic(contract)
        if now.matches != before:
            say(f"{contract.region}: {now.matches} matches with {now.players} players are still played")
            before = now.matches
        if not now.matches or time.monotonic() >= deadline:
            return now
        await asyncio.sleep(_LOOK_SECONDS)
