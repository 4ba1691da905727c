"""Doing one thing in several regions at the same time."""

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
    """What came of one region: a value, or the error that stopped it there."""

    region: str
    value: T | None = None
    error: MjctlError | None = None


async def in_each_region(
    contracts: Mapping[str, Contract], work: Callable[[Contract], Awaitable[T]], *, concurrency: int = 8
) -> list[RegionOutcome[T]]:
    """Run `work` for every contract, at most `concurrency` at a time; outcomes stand in the order of `contracts`.

    A region's MjctlError does not stop the others. Any other exception is a fault of the program and cancels all.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(contract: Contract) -> RegionOutcome[T]:
        async with gate:
            try:
                return RegionOutcome(contract.region, value=await work(contract))
            except MjctlError as error:
                return RegionOutcome(contract.region, error=error)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(contract)) for contract in contracts.values()]
    return [task.result() for task in tasks]
