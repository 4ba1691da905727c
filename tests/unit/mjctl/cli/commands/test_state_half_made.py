"""Tests of a region whose deploy was interrupted: `status` shows the region, and `health` reports an unhealthy
region."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mjctl.health import runner
from mjctl.health.model import Check, Finding, passed
from mjctl.models.config_file import load_environment
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace
from mjctl.terraform.lock import unit_lock
from mjctl.terraform.stack import Stack
from tests.integration.mjctl.conftest import CommandLine

HALF, WHOLE = "eu-west-1", "us-east-1"


@pytest.fixture
def mjctl(
    make_contract: Callable[..., Contract],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> CommandLine:
    """Return a command line with two regions in which every check passes."""

    async def fine(_: Any) -> Finding:
        return passed("fine")

    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(runner, "checks_for", lambda _: [Check("redis", fine), Check("match", fine)])
    command = CommandLine({name: make_contract(name) for name in (WHOLE, HALF)}, capsys)
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", lambda *_: dict(command.contracts))
    return command


def stack(region: str) -> Stack:
    workspace = Workspace.discover()
    return Stack.of_unit(workspace, load_environment(workspace, "local"), region)


@pytest.fixture
def cut_short(mjctl: CommandLine) -> None:
    stack(HALF).unit_files.write("attempt.json", json.dumps({"revision": "r1"}))


@contextmanager
def deploy_under_way() -> Iterator[None]:
    with unit_lock(stack(HALF), "deploy"):
        yield


def test_completely_deployed_regions_are_healthy(mjctl: CommandLine) -> None:
    ran = mjctl("health")
    assert ran.code == ExitCode.OK
    assert ran.out.splitlines()[-1].startswith("healthy")


def test_a_region_with_an_interrupted_deploy_is_unhealthy(mjctl: CommandLine, cut_short: None) -> None:
    ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    assert {region["region"]: region["status"] for region in ran.json()["regions"]} == {HALF: "fail", WHOLE: "pass"}
    (deployment,) = [check for check in ran.json()["checks"] if check["name"] == "deployment"]
    assert "interrupted" in deployment["summary"]
    assert f"mjctl deploy --env local --region {HALF}" in deployment["hint"]
    assert mjctl("health", "--region", WHOLE).code == ExitCode.OK
    assert mjctl("health", "--only", "redis").code == ExitCode.OK
    assert mjctl("health", "--only", "deployment").code == ExitCode.UNHEALTHY


def test_health_includes_a_region_without_a_contract(mjctl: CommandLine, cut_short: None) -> None:
    mjctl.contracts = {WHOLE: mjctl.contracts[WHOLE]}
    ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    assert HALF in [region["region"] for region in ran.json()["regions"]]


def test_a_running_deploy_is_a_warning_and_no_failure(mjctl: CommandLine, cut_short: None) -> None:
    with deploy_under_way():
        ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.OK
    (deployment,) = [check for check in ran.json()["checks"] if check["name"] == "deployment"]
    assert (deployment["status"], "`deploy`" in deployment["summary"]) == ("warn", True)


def test_status_shows_an_interrupted_deploy_and_how_to_complete_it(mjctl: CommandLine, cut_short: None) -> None:
    mjctl.contracts = {}
    ran = mjctl("status")
    assert ran.code == ExitCode.OK
    (line,) = [line for line in ran.out.splitlines() if HALF in line]
    assert "partial" in line
    advice = f"{HALF}: the last deploy was interrupted; `mjctl deploy --env local --region {HALF}` completes it"
    assert advice in ran.err
    with deploy_under_way():
        assert "interrupted" not in mjctl("status").err
