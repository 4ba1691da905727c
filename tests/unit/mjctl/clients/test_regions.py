from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mjctl.clients.regions import in_each_region
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

MakeContract = Callable[..., Contract]


async def test_an_error_of_a_region_does_not_affect_other_regions_and_the_order(make_contract: MakeContract) -> None:
    async def work(contract: Contract) -> str:
        if contract.region == "eu-west-1":
            raise UnreachableError("down")
        return contract.region.upper()

    names = ["us-east-1", "eu-west-1", "ap-northeast-1"]
    outcomes = await in_each_region({name: make_contract(name) for name in names}, work)
    assert [outcome.region for outcome in outcomes] == names
    assert [outcome.value for outcome in outcomes] == ["US-EAST-1", None, "AP-NORTHEAST-1"]
    assert isinstance(outcomes[1].error, UnreachableError)


async def test_the_number_of_regions_at_a_time_is_limited(make_contract: MakeContract) -> None:
    running = peak = 0

    async def work(_: Contract) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1

    names = [f"us-east-{number}" for number in range(1, 8)]
    await in_each_region({name: make_contract(name) for name in names}, work, concurrency=2)
    assert peak == 2


async def test_an_exception_other_than_a_mjctl_error_is_raised(make_contract: MakeContract) -> None:
    async def work(_: Contract) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        await in_each_region({"us-east-1": make_contract()}, work)
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
