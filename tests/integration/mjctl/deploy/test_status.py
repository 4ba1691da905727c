"""`mjctl status` shows a region whose players are sent to other regions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mjctl.deploy.status import UnitStatus
from mjctl.fleet.failover import close_region, reopen_region
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode


@pytest.fixture
def deployed(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(_workspace: Any, _environment: Any, region: str) -> UnitStatus:
        state = "deployed" if region == contract.region else "absent"
        return UnitStatus(region, state, "r1", None, None, None, 1, (), None)

    monkeypatch.setattr("mjctl.deploy.status.unit_status", status)


def region_of(ran: Any, name: str) -> dict[str, Any]:
    (region,) = [item for item in ran.json()["regions"] if item["region"] == name]
    return dict(region)


def test_a_failed_over_region_is_shown_with_the_command_that_lets_players_return(
    mjctl: Any, contract: Contract, deployed: None
) -> None:
    open_region = region_of(mjctl("status", "-o", "json"), contract.region)
    assert (open_region["failed_over"], open_region["players_go_to"]) == (False, [])
    asyncio.run(close_region(contract, [contract.model_copy(update={"region": "eu-west-1"})]))
    closed = region_of(mjctl("status", "-o", "json"), contract.region)
    assert (closed["failed_over"], closed["players_go_to"]) == (True, ["eu-west-1"])
    text = mjctl("status")
    (line,) = [line for line in text.out.splitlines() if contract.region in line]
    assert "deployed, failed over" in line
    assert "players go to eu-west-1" in text.err
    assert f"`mjctl failover --env local --region {contract.region} --restore`" in text.err
    assert asyncio.run(reopen_region(contract))
    assert "failed over" not in mjctl("status").out


def test_status_succeeds_without_redis_and_leaves_open_whether_the_region_is_failed_over(
    mjctl: Any, contract: Contract, deployed: None, without_state: Contract
) -> None:
    mjctl.contracts = {contract.region: without_state}
    ran = mjctl("status", "-o", "json")
    assert ran.code == ExitCode.OK
    assert region_of(ran, contract.region)["failed_over"] is None
    assert "cannot read whether players go to other regions" in ran.err
