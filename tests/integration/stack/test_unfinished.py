"""Interrupts deploys, or lets them fail half-way, each in a separate region."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from mjctl.local.layout import Layout
from mjctl.models.exit_codes import ExitCode

from .conftest import Operator, eventually

pytestmark = pytest.mark.stack


def resources(state: Path) -> int:
    """Return how many resources Terraform has written to the state so far."""
    try:
        return len(json.loads(state.read_text())["resources"])
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def test_an_interrupted_deploy_leaves_no_lock_and_the_next_one_completes(fresh: Operator) -> None:
    running = fresh.start("deploy", "--region", "eu-west-1", "--auto-approve")
    state = fresh.home / "local" / "eu-west-1" / "terraform" / "terraform.tfstate"
    eventually(lambda: resources(state) > 0, 60, "the apply has made something")
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == ExitCode.INTERRUPTED, stderr
    assert not list(state.parent.glob(".*.lock.info"))
    assert "Traceback" not in stderr
    history = fresh.run("history", "--region", "eu-west-1", "--output", "json").json()
    assert [region["refused"] for run in history["runs"] for region in run["regions"]] == [None]

    ran = fresh.run("deploy", "--region", "eu-west-1", "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert fresh.run("health", "--region", "eu-west-1").code == ExitCode.OK


def test_an_interrupted_first_deploy_can_be_destroyed_to_nothing(fresh: Operator) -> None:
    running = fresh.start("deploy", "--region", "eu-west-1", "--auto-approve")
    layout = Layout(fresh.home / "local" / "eu-west-1")
    eventually(layout.log("postgres").exists, 60, "the first programs start")
    running.send_signal(signal.SIGTERM)
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == ExitCode.INTERRUPTED, stderr
    ran = fresh.run("destroy", "--region", "eu-west-1", "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert fresh.processes() == []


@pytest.mark.parametrize("state", [pytest.param("kept", marks=pytest.mark.slow), "lost"])
def test_a_deploy_that_failed_half_way_can_be_destroyed_to_nothing(fresh: Operator, state: str) -> None:
    """Let the emulated AWS fail to start while Redis and PostgreSQL run already."""
    region = ("--region", "eu-west-1")
    assert fresh.run("plan", *region).code == ExitCode.CHANGES_PENDING
    folder = fresh.home / "local" / "eu-west-1"
    (folder / "data" / "aws").write_text("a file where the emulated AWS's folder must be")
    ran = fresh.run("deploy", *region, "--auto-approve")
    assert ran.code == ExitCode.FAILED, ran.stderr
    assert "postgres" in {process.name() for process in fresh.processes()}
    if state == "lost":
        for path in (folder / "terraform").glob("terraform.tfstate*"):
            path.unlink()
    ran = fresh.run("destroy", *region, "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert fresh.processes() == []


@pytest.mark.slow
def test_one_region_failing_does_not_stop_another(fresh: Operator) -> None:
    regions = ("--region", "us-east-1", "--region", "eu-west-1")
    assert fresh.run("plan", *regions).code == ExitCode.CHANGES_PENDING
    in_the_way = fresh.home / "local" / "eu-west-1" / "data" / "postgres"
    in_the_way.write_text("a file where the database's folder must be")

    ran = fresh.run("deploy", *regions, "--auto-approve", "--output", "json")
    assert ran.code == ExitCode.PARTIAL, ran.stderr
    assert {region["region"]: region["outcome"] for region in ran.json()["regions"]} == {
        "us-east-1": "applied",
        "eu-west-1": "failed",
    }
    assert fresh.run("health", "--region", "us-east-1").code == ExitCode.OK

    in_the_way.unlink()
    ran = fresh.run("deploy", *regions, "--auto-approve", "--output", "json")
    assert ran.code == ExitCode.OK, ran.stderr
    assert {region["region"]: region["outcome"] for region in ran.json()["regions"]} == {
        "us-east-1": "unchanged",
        "eu-west-1": "applied",
    }
