"""Tests of `mjctl health --watch`: it follows a region through a deploy, and refuses options for a final result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mjctl.__main__ import run
from mjctl.health.model import HealthReport
from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError
from mjctl.models.exit_codes import ExitCode


def test_every_round_of_checks_reads_the_contracts_again(
    make_contract: Callable[..., Contract],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ports = [1, 1, 2]
    published: list[Contract | None] = [make_contract(endpoints={"api": f"http://127.0.0.1:{port}"}) for port in ports]
    # The command reads the contract four times: at its start, in a first round, during a deploy (no contract), and
    # after the deploy.
    published.insert(2, None)
    seen: list[str] = []

    def deployed_contracts(*_: object) -> dict[str, Contract]:
        contract = published.pop(0)
        if contract is None:
            raise NotFoundError("not deployed: us-east-1")
        return {contract.region: contract}

    async def run_health(environment: str, contracts: dict[str, Contract], *_: object, **__: object) -> HealthReport:
        seen.extend(contract.endpoints.api for contract in contracts.values())
        if not published:
            raise KeyboardInterrupt
        return HealthReport(
            environment,
            "2026-11-29T12:00:00+00:00",
            0.1,
            (CheckResult("api", "us-east-1", CheckStatus.PASS, "answers"),),
        )

    monkeypatch.setenv("MJCTL_HOME", str(tmp_path))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", deployed_contracts)
    monkeypatch.setattr("mjctl.health.runner.run_health", run_health)
    assert run(["health", "--watch", "--interval", "0.5", "--region", "us-east-1"]) == ExitCode.INTERRUPTED
    assert seen == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert "cannot run the checks: not deployed: us-east-1" in capsys.readouterr().out


@pytest.mark.parametrize("option", [("--junit", "x.xml"), ("--fail-on", "warn"), ("--fail-on", "critical")])
def test_watch_refuses_options_that_need_a_result(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--watch", *option]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "--watch cannot be combined with --junit or --fail-on" in " ".join(error.split())
