"""Runs the programs of examples/ unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.stack.conftest import REGION, Operator

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def run(fresh: Operator, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "deploy_region.py"), *arguments],
        env=fresh.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_program_deploys_a_region_without_a_console(fresh: Operator) -> None:
    deployed = run(fresh, REGION)
    assert (deployed.returncode, deployed.stderr) == (0, "")
    assert deployed.stdout.startswith(f"{REGION} applied ")

    healthy = fresh.run("health", "--region", REGION)
    assert healthy.code == 0, healthy.stderr + healthy.stdout
    (record,) = fresh.run("history", "--output", "json").json()["runs"]
    assert (record["command"], record["message"]) == ("deploy", "examples/deploy_region.py")

    again = run(fresh, REGION)
    assert (again.returncode, again.stdout.split()[1]) == (0, "unchanged")


def test_a_region_that_the_environment_does_not_have_is_an_error(fresh: Operator) -> None:
    refused = run(fresh, "mars-north-1")
    assert refused.returncode != 0
    assert "has no region mars-north-1" in refused.stderr
