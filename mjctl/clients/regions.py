"""Runs the same work for several regions at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError

T = TypeVar("T")


@dataclass(frozen=True)
class RegionOutcome(Generic[T]):
    """Holds the result of the work on a region.

    Attributes:
        region: The region.
        value: The value that the work returned, or None after an error.
        error: The error that stopped the work, or None.
    """

    region: str
    value: T | None = None
    error: MjctlError | None = None


async def in_each_region(
    contracts: Mapping[str, Contract], work: Callable[[Contract], Awaitable[T]], *, concurrency: int = 8
) -> list[RegionOutcome[T]]:
    """Run `work` for every contract, for at most `concurrency` regions at a time.

    An MjctlError of a region does not stop the work on other regions. An exception other than an MjctlError is a fault
    of mjctl, and cancels the work on all regions.

    Returns:
        The results in the order of `contracts`.
    """
    limit = asyncio.Semaphore(concurrency)

    async def in_region(contract: Contract) -> RegionOutcome[T]:
        async with limit:
            try:
                return RegionOutcome(contract.region, value=await work(contract))
            except MjctlError as error:
                return RegionOutcome(contract.region, error=error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_region(contract)) for contract in contracts.values()]
    return [task.result() for task in tasks]
