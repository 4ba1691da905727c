"""Tests that a program can run a failover, and later the return to the first region: without a console, the program
approves a plan and reads a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from mjctl.fleet import failover_sequence
from mjctl.fleet.failover import Traffic
from mjctl.fleet.failover_report import FailoverPlan
from mjctl.fleet.failover_sequence import Failover
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, RefusedError, UnreachableError
from mjctl.models.exit_codes import ExitCode

EAST, WEST = "us-east-1", "eu-west-1"


class World:
    """Simulates two regions, of which each may be closed or sick."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.sick: set[str] = set()
        self.lines: list[str] = []

    async def probe(self, contracts: Mapping[str, Contract], only: Sequence[str]) -> list[CheckResult]:
        return [self._result(region, name) for region in contracts for name in only]

    def _result(self, region: str, name: str) -> CheckResult:
        if region in self.closed and name == "match":
            return CheckResult(name, region, CheckStatus.WARN, "closed", evidence={"closed": [WEST]})
        return CheckResult(name, region, CheckStatus.FAIL if region in self.sick else CheckStatus.PASS, "a summary")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    async def close_region(contract: Contract, elsewhere: Sequence[Contract]) -> None:
        world.closed.add(contract.region)

    async def reopen_region(contract: Contract) -> bool:
        closed = contract.region in world.closed
        world.closed.discard(contract.region)
        return closed

    async def read_traffic(contract: Contract) -> Traffic:
        return Traffic(contract.region, 4, 2, None)

    monkeypatch.setattr(failover_sequence, "close_region", close_region)
    monkeypatch.setattr(failover_sequence, "reopen_region", reopen_region)
    monkeypatch.setattr(failover_sequence, "read_traffic", read_traffic)
    return world


@pytest.fixture
def failover(world: World, make_contract: Callable[..., Contract]) -> Failover:
    contracts = {region: make_contract(region) for region in (EAST, WEST)}
    return Failover(contracts[EAST], contracts, world.probe, world.lines.append)


def test_players_leave_a_region_and_return(failover: Failover, world: World) -> None:
    plans: list[FailoverPlan] = []

    def approve(plan: FailoverPlan) -> bool:
        plans.append(plan)
        return True

    left = failover.leave(approve=approve)
    assert plans[0].summary == f"players of {EAST} to {WEST}"
    assert (left.action, left.elsewhere, left.exit_code) == ("closed", (WEST,), ExitCode.OK)
    assert [(step.step, step.outcome) for step in left.steps] == [("traffic", "done")]
    assert {probe.region for probe in left.probes} == {WEST}
    assert world.closed == {EAST}

    back = failover.restore(approve=approve)
    assert (back.action, back.exit_code) == ("restored", ExitCode.OK)
    assert plans[1].takers == ()
    assert world.closed == set()
    assert failover.restore(approve=approve).action == "none"


def test_a_rehearsal_and_a_refusal_change_nothing(failover: Failover, world: World) -> None:
    rehearsed = failover.rehearse()
    assert (rehearsed.action, rehearsed.exit_code) == ("none", ExitCode.OK)
    assert [(step.step, step.outcome) for step in rehearsed.steps] == [("traffic", "planned")]
    with pytest.raises(RefusedError):
        failover.leave(approve=lambda _: False)
    assert world.closed == set()


def test_no_approval_is_requested_when_no_region_can_take_the_players(failover: Failover, world: World) -> None:
    def approve(_: FailoverPlan) -> bool:
        raise AssertionError("there is nothing to approve")

    world.sick.add(WEST)
    with pytest.raises(ConflictError, match="no other region can take the players"):
        failover.leave(approve=approve)
    assert world.closed == set()


def test_a_region_that_becomes_unhealthy_after_it_has_taken_the_players_is_reported(
    failover: Failover, world: World
) -> None:
    def approve(_: FailoverPlan) -> bool:
        world.sick.add(WEST)
        return True

    left = failover.leave(approve=approve)
    assert (left.action, left.exit_code) == ("closed", ExitCode.UNHEALTHY)


def test_a_step_that_fails_is_in_the_report(failover: Failover, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object) -> None:
        raise UnreachableError("Redis does not answer")

    monkeypatch.setattr(failover_sequence, "close_region", silent)
    left = failover.leave(approve=lambda _: True)
    assert (left.action, left.exit_code) == ("failed", ExitCode.UNREACHABLE)
    assert [(step.step, step.outcome) for step in left.steps] == [("traffic", "failed")]
    assert left.probes == ()
