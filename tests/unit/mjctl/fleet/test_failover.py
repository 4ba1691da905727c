"""A failover chooses regions that can take players, and names the reasons against every other region."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mjctl.fleet.failover import successors, unfit_regions
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError

EAST, WEST, NORTH = "us-east-1", "eu-west-1", "eu-north-1"


@pytest.fixture
def contracts(make_contract: Callable[..., Contract]) -> dict[str, Contract]:
    return {name: make_contract(name) for name in (EAST, WEST, NORTH)}


def result(region: str, name: str, status: str, summary: str = "a summary") -> CheckResult:
    return CheckResult(name, region, CheckStatus(status), summary)


def test_a_refusal_names_every_check_that_makes_a_region_unfit(contracts: dict[str, Contract]) -> None:
    unfit = unfit_regions(
        [
            result(WEST, "login", "pass"),
            result(WEST, "match", "fail", "no server took the match"),
            result(NORTH, "login", "fail", "the API does not answer"),
            result(NORTH, "match", "warn", "the region is closed"),
        ]
    )
    with pytest.raises(ConflictError) as refused:
        successors(contracts, EAST, unfit)
    message = refused.value.what
    assert "eu-west-1 cannot take players: check `match`: no server took the match" in message
    assert "eu-north-1 cannot take players: check `login`: the API does not answer" in message
    assert "eu-north-1 cannot take players: check `match`: the region is closed" in message
    assert "login`: a summary" not in message
    assert "--region eu-west-1 --region eu-north-1" in (refused.value.hint or "")


def test_a_fit_region_takes_the_players_although_another_region_is_unfit(contracts: dict[str, Contract]) -> None:
    unfit = unfit_regions(
        [result(WEST, "match", "fail"), result(NORTH, "match", "pass"), result(NORTH, "table", "warn")]
    )
    assert [contract.region for contract in successors(contracts, EAST, unfit)] == [NORTH]


def test_the_only_region_has_no_successor(contracts: dict[str, Contract]) -> None:
    with pytest.raises(ConflictError) as refused:
        successors({EAST: contracts[EAST]}, EAST, {})
    assert "no other region is deployed" in refused.value.what
    assert "mjctl deploy" in (refused.value.hint or "")
