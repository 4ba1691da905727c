"""Runs the programs of examples/ and the commands of README.md unchanged."""

from __future__ import annotations

import re
import shlex
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


def readme_commands() -> list[list[str]]:
    """Return the arguments of each mjctl command in the section "Commands" of README.md."""
    text = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Commands\n", 1)[1].split("\n## ", 1)[0]
    (block,) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in block.splitlines()]
    assert all(words[0] == "mjctl" for words in lines)
    return [words[1:] for words in lines]


def test_the_commands_of_the_readme_work_in_their_order(fresh: Operator) -> None:
    commands = readme_commands()
    assert len(commands) >= 8
    for arguments in commands:
        ran = fresh.run(*arguments)
        # `plan` ends with 2, because it comes before `deploy` in the console block of README.md.
        assert ran.code == (2 if arguments[0] == "plan" else 0), (arguments, ran.stderr[-2000:])
