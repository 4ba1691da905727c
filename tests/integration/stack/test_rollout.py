"""Checks that a bad revision reaches only the first region of a rollout and that mjctl rolls the first region back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace

from .conftest import Operator, Ran

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PROJECT = Workspace.discover(Path(__file__)).project_dir
FIRST, OTHER = "us-east-1", "eu-west-1"
BOTH = ("--region", FIRST, "--region", OTHER)


@dataclass(frozen=True)
class Checkout:
    """Holds a separate working tree in which a test can break the code."""

    folder: Path
    operator: Operator

    def run(self, *arguments: str, timeout: float = 300) -> Ran:
        return self.operator.run(*arguments, timeout=timeout, MJCTL_PROJECT_DIR=str(self.folder))

    def replace(self, path: str, old: str, new: str) -> None:
        file = self.folder / "gameserver" / path
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    def status(self, region: str) -> dict[str, Any]:
        return dict(self.run("status", "--region", region, "--output", "json").json()["regions"][0])

    def pids(self, region: str) -> dict[str, int]:
        ran = self.run("servers", "list", "--region", region, "--output", "json")
        return {server["id"]: server["pid"] for server in ran.json()["regions"][0]["servers"]}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    folder = tmp_path / "checkout"
    for part in ("configs", "terraform", "gameserver", "web"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns(".terraform", "node_modules"))
    checkout = Checkout(folder, Operator(tmp_path / "home"))
    yield checkout
    checkout.run("destroy", "--all-regions", "--auto-approve")
    assert checkout.operator.processes() == []


@pytest.mark.timeout(600)
def test_a_bad_revision_stops_at_the_canary_and_is_rolled_back(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.run("deploy", *BOTH, "--auto-approve", "--message", "the good one").code == ExitCode.OK
    good = checkout.status(FIRST)["revision"]
    other = (checkout.status(OTHER)["serial"], checkout.pids(OTHER))

    # With the broken code, the API starts and answers its probes, but answers a request for a profile with an error.
    checkout.replace(
        "functions/profile.py",
        "async def get_profile(request: Request, services: Services) -> Response:\n",
        "async def get_profile(request: Request, services: Services) -> Response:\n    raise RuntimeError\n\n\n"
        "async def _gone(request: Request, services: Services) -> Response:\n",
    )
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    ran = checkout.run(
        "deploy", *BOTH, "--strategy", "canary", "--soak", "5", "--rollback-on-failure", "--auto-approve",
        "--summary-file", str(summary), "--junit", str(junit), "--output", "json",
    )  # fmt: skip
    assert ran.code == ExitCode.UNHEALTHY, ran.stderr
    canary, untouched = ran.json()["regions"]
    assert (canary["outcome"], untouched["outcome"]) == ("rolled_back", "not_started")
    assert canary["revision"] == good != canary["refused"]
    assert canary["health"]["healthy"] is False
    assert any("login" in message for message in canary["health"]["failing"])

    assert (checkout.status(OTHER)["serial"], checkout.pids(OTHER)) == other
    assert checkout.status(FIRST)["revision"] == good
    healthy = checkout.run("health", *BOTH)
    assert healthy.code == ExitCode.OK, healthy.stdout

    text = summary.read_text()
    assert len(text) < 65_000
    assert "rolled back" in text
    assert "Stopped: a region is unhealthy" in text
    suites = {suite.get("name"): suite for suite in ET.parse(junit).getroot()}  # noqa: S314 - our own file
    assert suites[f"local/{FIRST}"].get("failures") == "1"
    assert suites[f"local/{OTHER}"].get("skipped") == "1"

    newest = checkout.run("history", "--output", "json").json()["runs"][0]
    assert newest["command"] == "deploy"
    assert newest["exit_code"] == ExitCode.UNHEALTHY
    assert newest["revision"] == canary["refused"]
    assert {region["region"]: region["outcome"] for region in newest["regions"]} == {
        FIRST: "rolled_back",
        OTHER: "not_started",
    }


@pytest.mark.timeout(600)
def test_an_operator_rolls_back_a_deploy_without_a_gate(checkout: Checkout) -> None:
    assert checkout.run("deploy", "--region", FIRST, "--auto-approve").code == ExitCode.OK
    good = checkout.status(FIRST)["revision"]
    # The game servers exit when they start, so the apply fails and leaves the region half deployed.
    checkout.replace("server/__init__.py", "from gameserver.server.process import run\n", "raise SystemExit(3)\n")
    ran = checkout.run("deploy", "--region", FIRST, "--auto-approve")
    assert ran.code == ExitCode.FAILED
    assert checkout.status(FIRST)["state"] == "partial"

    refused = checkout.run("rollback", "--region", FIRST)
    assert refused.code == ExitCode.REFUSED
    ran = checkout.run("rollback", "--region", FIRST, "--auto-approve", "--output", "json")
    assert ran.code == ExitCode.OK, ran.stderr
    (region,) = ran.json()["regions"]
    assert (region["outcome"], region["revision"]) == ("rolled_back", good)
    assert region["health"]["healthy"] is True
    assert checkout.status(FIRST)["state"] == "deployed"
    commands = [entry["command"] for entry in checkout.run("history", "--output", "json").json()["runs"]]
    assert commands == ["rollback", "deploy", "deploy"]


@pytest.mark.timeout(600)
def test_plans_are_made_in_one_run_and_applied_in_another(checkout: Checkout, tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    ran = checkout.run("plan", *BOTH, "--out", str(plans))
    assert ran.code == ExitCode.CHANGES_PENDING
    assert plans.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in plans.iterdir())
    kept = sorted(path.name for path in plans.iterdir())

    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for path in plans.glob(f"*{FIRST}*"):
        shutil.copy(path, swapped / path.name.replace(FIRST, OTHER))
    ran = checkout.run("deploy", "--region", OTHER, "--plans", str(swapped), "--auto-approve", "--output", "json")
    assert ran.code == ExitCode.CONFLICT
    assert "cannot be applied" in json.loads(ran.stdout)["error"]["what"]

    unconfirmed = checkout.run("deploy", *BOTH, "--plans", str(plans))
    assert unconfirmed.code == ExitCode.REFUSED
    assert sorted(path.name for path in plans.iterdir()) == kept
    ran = checkout.run("deploy", *BOTH, "--plans", str(plans), "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert not plans.exists()
    assert checkout.run("health", *BOTH).code == ExitCode.OK
