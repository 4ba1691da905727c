"""A region whose deploy was cut short: `status` shows it, and `health` does not call it healthy."""

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
    """Two regions whose every check passes."""

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


def test_whole_regions_are_healthy(mjctl: CommandLine) -> None:
    ran = mjctl("health")
    assert ran.code == ExitCode.OK
    assert ran.out.splitlines()[-1].startswith("healthy")


def test_health_does_not_call_a_half_made_region_healthy(mjctl: CommandLine, cut_short: None) -> None:
    ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    assert {one["region"]: one["status"] for one in ran.json()["regions"]} == {HALF: "fail", WHOLE: "pass"}
    (found,) = [one for one in ran.json()["checks"] if one["name"] == "deployment"]
    assert "cut short" in found["summary"]
    assert f"mjctl deploy --env local --region {HALF}" in found["hint"]
    assert mjctl("health", "--region", WHOLE).code == ExitCode.OK
    assert mjctl("health", "--only", "redis").code == ExitCode.OK
    assert mjctl("health", "--only", "deployment").code == ExitCode.UNHEALTHY


def test_a_region_that_has_published_nothing_yet_is_not_left_out(mjctl: CommandLine, cut_short: None) -> None:
    mjctl.contracts = {WHOLE: mjctl.contracts[WHOLE]}
    ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.UNHEALTHY
    assert HALF in [one["region"] for one in ran.json()["regions"]]


def test_a_deploy_that_is_under_way_is_no_failure(mjctl: CommandLine, cut_short: None) -> None:
    with deploy_under_way():
        ran = mjctl("health", "-o", "json")
    assert ran.code == ExitCode.OK
    (found,) = [one for one in ran.json()["checks"] if one["name"] == "deployment"]
    assert (found["status"], "`deploy`" in found["summary"]) == ("warn", True)


def test_status_shows_it_and_says_how_to_finish_it(mjctl: CommandLine, cut_short: None) -> None:
    mjctl.contracts = {}
    ran = mjctl("status")
    assert ran.code == ExitCode.OK
    (line,) = [line for line in ran.out.splitlines() if HALF in line]
    assert "partial" in line
    assert f"{HALF}: the last deploy was cut short; `mjctl deploy --env local --region {HALF}` finishes it" in ran.err
    with deploy_under_way():
        assert "cut short" not in mjctl("status").err
