"""Checks the features that the README names first: deploy, health, a played match, drift and the cache."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest

from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, SharedRegion, eventually

pytestmark = pytest.mark.stack


# test_terminal.py puts messages that no worker can process into the dead-letter queue, so `statuses` omits this check.
DEAD_LETTERS = "dead-letters/persistence"


def statuses(operator: Operator, *arguments: str) -> dict[str, str]:
    """Return check name -> status, without the check of the dead-letter queue."""
    ran = operator.run("health", "--region", REGION, *arguments, "--output", "json")
    assert ran.code in (ExitCode.OK, ExitCode.UNHEALTHY), ran.stderr
    return {check["name"]: check["status"] for check in ran.json()["checks"] if check["name"] != DEAD_LETTERS}


def is_healthy(operator: Operator, *arguments: str) -> bool:
    return set(statuses(operator, *arguments).values()) <= {"pass", "warn"}


def test_a_deployed_region_is_healthy_with_a_login_and_a_match(shared_region: SharedRegion) -> None:
    ran = shared_region.first_health
    assert ran.code == ExitCode.OK, ran.stdout
    checks = {check["name"]: check["status"] for check in ran.json()["checks"]}
    assert {"login", "match"} <= {name.rsplit(".", 1)[-1] for name in checks}
    assert set(checks.values()) <= {"pass", "warn"}


def test_a_second_deploy_has_nothing_to_do(operator: Operator) -> None:
    ran = operator.run("deploy", "--region", REGION, "--auto-approve", "--output", "json")
    assert ran.code == ExitCode.OK
    assert [region["outcome"] for region in ran.json()["regions"]] == ["unchanged"]
    assert operator.run("plan", "--region", REGION).code == ExitCode.OK
    assert operator.run("drift", "--region", REGION).code == ExitCode.OK


def test_bots_play_and_every_ended_match_is_stored_once(operator: Operator) -> None:
    ran = operator.run("loadtest", "--region", REGION, "--players", "6", "--duration", "12", "--output", "json")
    assert ran.code == ExitCode.OK, ran.stderr
    report = ran.json()
    assert report["matches"]["ended"] >= 1
    assert report["verification"]["missing"] == []
    assert report["verification"]["duplicated"] == []
    # Bots and the probes of `health` must not appear on the leaderboard of players.
    url = f"{operator.contract()['endpoints']['api']}/v1/leaderboard?limit=100"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - a local region
        leaders = [entry["display_name"] for entry in json.load(answer)["entries"]]
    assert [name for name in leaders if name.startswith(("bot-", "probe-"))] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_server_is_reported_and_restarted(operator: Operator, number: signal.Signals) -> None:
    eventually(lambda: is_healthy(operator, "--only", "process/*"), 90, "healthy before")
    victim = f"game-{REGION}b-1"
    os.kill(operator.pid(victim), number)
    named = []

    def is_named() -> bool:
        # The watchdog restarts the server within a second. `health` reports restarts of the last 60 s, so that the test
        # also finds the restart on a busy machine.
        ran = operator.run("health", "--region", REGION, "--threshold", "restart_window_seconds=60")
        if ran.code == ExitCode.UNHEALTHY and victim in ran.stdout:
            named.append(ran)
        return bool(named)

    eventually(is_named, 60, "health names the server")
    eventually(lambda: is_healthy(operator), 90, "healthy again")


def test_drift_reports_a_removed_process_and_deploy_starts_it(operator: Operator) -> None:
    from mjctl.local.supervisor import SupervisorClient

    client = SupervisorClient(operator.contract()["fleet"]["supervisor_socket"], scope="--region us-east-1")
    client.stop("worker")
    client.remove("worker")
    ran = operator.run("drift", "--region", REGION, "--output", "json")
    assert ran.code == ExitCode.CHANGES_PENDING
    assert any("worker" in change["address"] for change in ran.json()["regions"][0]["changes"])
    assert operator.run("deploy", "--region", REGION, "--auto-approve").code == ExitCode.OK
    eventually(lambda: is_healthy(operator), 90, "healthy")


def test_invalidating_a_pattern_reports_the_number_of_keys(operator: Operator) -> None:
    def count(*extra: str) -> int:
        ran = operator.run(
            "cache", "invalidate", "--region", REGION, "--pattern", "profile:*", "--output", "json", *extra
        )
        assert ran.code == ExitCode.OK, ran.stderr
        return int(sum(region["matched"] for region in ran.json()["regions"]))

    eventually(lambda: is_healthy(operator), 90, "healthy")
    before = count("--dry-run")
    assert before >= 1
    assert count() == before
    assert count("--dry-run") == 0
