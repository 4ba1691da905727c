"""Restarts, drains and adds servers while players play, and expects that no match is dropped."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from mjctl.local.supervisor import SupervisorClient
from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, eventually

pytestmark = pytest.mark.stack

FIRST = f"game-{REGION}a-1"


def servers(operator: Operator) -> dict[str, dict[str, Any]]:
    ran = operator.run("servers", "list", "--region", REGION, "--output", "json")
    return {server["id"]: server for server in ran.json()["regions"][0]["servers"]}


def all_ready(operator: Operator) -> bool:
    return all(server["state"] == "ready" for server in servers(operator).values())


@pytest.fixture
def playing(operator: Operator) -> Callable[[str], subprocess.Popen[str]]:
    """Return a function that starts bots and waits until all of their matches run."""

    def matches() -> int:
        return sum(server["matches"] or 0 for server in servers(operator).values())

    def play(seconds: str) -> subprocess.Popen[str]:
        eventually(lambda: matches() == 0, 60, "the matches of earlier tests have ended")
        running = operator.start(
            "loadtest", "--region", REGION, "--players", "6", "--matches-of", "2", "--duration", seconds,
            "--output", "json",
        )  # fmt: skip
        eventually(lambda: matches() >= 3, 60, "three matches run")
        return running

    return play


def assert_no_match_dropped(running: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, stderr = running.communicate(timeout=200)
    assert running.returncode == ExitCode.OK, stdout + stderr
    report = dict(json.loads(stdout))
    assert report["matches"]["started"] == report["matches"]["ended"] >= 3
    assert report["verification"]["verified"] is True
    assert report["verification"]["missing"] == []
    return report


def test_every_server_is_restarted_under_players_and_no_match_drops(
    operator: Operator, playing: Callable[[str], subprocess.Popen[str]]
) -> None:
    eventually(lambda: all_ready(operator), 60, "every server is ready")
    before = servers(operator)
    # Three restarts on a busy machine take longer than 15 s, and the matches must still run.
    running = playing("40")
    ran = operator.run("servers", "restart", "--region", REGION, "--yes", "--output", "json")
    assert ran.code == ExitCode.OK, ran.stderr
    changed = ran.json()["regions"][0]["servers"]
    assert [server["action"] for server in changed] == ["restarted"] * len(before)
    assert sum(server["matches"] for server in changed) >= 3
    after = servers(operator)
    assert all(after[name]["pid"] != before[name]["pid"] for name in before)
    assert all_ready(operator)
    report = assert_no_match_dropped(running)
    assert report["regions"][0]["reconnects"] >= 1


@pytest.mark.slow
def test_a_drained_server_stays_stopped_until_it_is_restarted(
    operator: Operator, playing: Callable[[str], subprocess.Popen[str]]
) -> None:
    eventually(lambda: all_ready(operator), 60, "every server is ready")
    running = playing("8")
    ran = operator.run("servers", "drain", FIRST, "--region", REGION, "--message", "new kernel", "--yes")
    assert ran.code == ExitCode.OK, ran.stderr
    row = servers(operator)[FIRST]
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    assert (row["state"], row["drained"]["by"], row["drained"]["message"]) == ("drained", by, "new kernel")
    assert_no_match_dropped(running)
    shown = operator.run("servers", "list", "--region", REGION).stdout
    assert f"drained by {by}" in " ".join(shown.split())
    checks = ("--only", f"process/{FIRST}", "--only", f"server/{FIRST}")
    health = operator.run("health", "--region", REGION, *checks, "--output", "json")
    assert health.code == ExitCode.OK, health.stdout
    for check in health.json()["checks"]:
        assert check["status"] == "warn"
        assert check["summary"].startswith(f"drained by {by}")
        assert check["summary"].endswith("ago: new kernel")
        assert f"`mjctl servers restart {FIRST} --env local --region {REGION}`" in check["hint"]
        assert check["evidence"]["drained_message"] == "new kernel"

    # `drift` and an unchanged deploy must not treat a drained server as a lost server.
    assert operator.run("drift", "--region", REGION).code == ExitCode.OK
    assert operator.run("deploy", "--region", REGION, "--auto-approve").code == ExitCode.OK
    assert servers(operator)[FIRST]["state"] == "drained"
    assert operator.run("status", "--region", REGION, "--output", "json").json()["regions"][0]["state"] == "deployed"

    others = [name for name in servers(operator) if name != FIRST]
    last = operator.run("servers", "drain", *others, "--region", REGION, "--yes")
    assert last.code == ExitCode.CONFLICT
    assert "no other server" in last.stderr
    assert operator.run("servers", "restart", FIRST, *others, "--region", REGION, "--yes").code == ExitCode.OK
    assert all_ready(operator)
    assert all(server["drained"] is None for server in servers(operator).values())


def test_a_deploy_that_replaces_a_drained_server_says_so(operator: Operator) -> None:
    assert operator.run("servers", "drain", FIRST, "--region", REGION, "--yes").code == ExitCode.OK
    SupervisorClient(operator.contract()["fleet"]["supervisor_socket"], scope="--region us-east-1").remove(FIRST)
    for command in (("plan",), ("deploy", "--auto-approve")):
        ran = operator.run(*command, "--region", REGION)
        assert f"{FIRST} was drained by" in ran.stderr
        assert "a deploy brings it back into service" in " ".join(ran.stderr.split())
    row = servers(operator)[FIRST]
    assert (row["state"], row["drained"]) == ("ready", None)


@pytest.mark.slow
def test_a_new_scale_goes_through_terraform_and_stays(operator: Operator) -> None:
    deploy = ("deploy", "--region", REGION, "--auto-approve", "--output", "json")
    assert operator.run(*deploy).code == ExitCode.OK
    count = len(servers(operator))
    ran = operator.run("servers", "scale", "2", "--region", REGION, "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert len(servers(operator)) == 2 * count
    assert [region["outcome"] for region in operator.run(*deploy).json()["regions"]] == ["unchanged"]
    assert operator.run("drift", "--region", REGION).code == ExitCode.OK
    ran = operator.run("servers", "scale", "--reset", "--region", REGION, "--auto-approve")
    assert ran.code == ExitCode.OK, ran.stderr
    assert len(servers(operator)) == count


def test_an_impossible_server_command_is_refused(operator: Operator) -> None:
    before = {name: server["pid"] for name, server in servers(operator).items()}
    refusals: list[tuple[tuple[str, ...], ExitCode, str]] = [
        (("drain", "game-nowhere-1", "--yes"), ExitCode.NOT_FOUND, "game-nowhere-1"),
        (("drain", FIRST), ExitCode.REFUSED, "--yes"),
        (("scale",), ExitCode.USAGE, "--reset"),
        (("scale", "2", "--reset"), ExitCode.USAGE, "--reset"),
        (("scale", "99", "--auto-approve"), ExitCode.USAGE, "50"),
    ]
    for arguments, code, words in refusals:
        ran = operator.run("servers", *arguments, "--region", REGION)
        assert (ran.code, words in ran.stderr) == (code, True), (arguments, ran.stderr)
    assert {name: server["pid"] for name, server in servers(operator).items()} == before
