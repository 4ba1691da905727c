"""Checks the probes of `health` and the load test on a running region."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mjctl.clients.boto import RegionClients
from mjctl.health.runner import run_health
from mjctl.loadtest.model import LoadPlan
from mjctl.loadtest.run import run_loadtest
from mjctl.local.supervisor import SupervisorClient
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, eventually

pytestmark = pytest.mark.stack


def supervisor(operator: Operator) -> SupervisorClient:
    return SupervisorClient(Path(operator.contract()["fleet"]["supervisor_socket"]), scope="--region us-east-1")


def servers(operator: Operator) -> list[dict[str, Any]]:
    return list(operator.run("servers", "list", "--region", REGION, "--output", "json").json()["regions"][0]["servers"])


class Ports:
    """Reads the status of the game servers directly. A command of mjctl would be too slow to see a state that lasts a
    short time."""

    def __init__(self, operator: Operator) -> None:
        self._urls = [server["ops_url"] for server in operator.contract()["fleet"]["servers"]]

    def statuses(self) -> list[dict[str, Any]]:
        return [json.loads(self._get(f"{url}/status")) for url in self._urls]

    def matches(self) -> int:
        return sum(status["matches"] for status in self.statuses())

    def joins(self) -> float:
        counters = [
            re.search(r"^gameserver_joins_total (\S+)", self._get(f"{url}/metrics"), re.M) for url in self._urls
        ]
        return sum(float(counter[1]) for counter in counters if counter is not None)

    @staticmethod
    def _get(url: str) -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())


def test_the_probe_players_are_kept_privately_and_used_again(operator: Operator) -> None:
    def player() -> str:
        ran = operator.run("health", "--region", REGION, "--only", "login", "--output", "json")
        assert ran.code == ExitCode.OK, ran.stdout
        return str(ran.json()["checks"][0]["evidence"]["player_id"])

    first = player()
    account = operator.home / "local" / REGION / "secrets" / "probe-1.json"
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    assert player() == first
    # `health` replaces an account that the user pool does not know, for example after the pool was created again.
    account.write_text(json.dumps(json.loads(account.read_text()) | {"email": "nobody@example.com"}))
    assert player() != first


def test_a_match_probe_without_a_worker_says_where_the_result_is_missing(operator: Operator) -> None:
    supervisor(operator).stop("worker")
    try:
        ran = operator.run("health", "--region", REGION, "--only", "match", "--output", "json")
        assert ran.code == ExitCode.UNHEALTHY
        (check,) = ran.json()["checks"]
        assert "PostgreSQL" in check["summary"]
        lost = operator.run(
            "loadtest", "--region", REGION, "--players", "2", "--duration", "2", "--mode", "probe", "--settle", "1",
            "--output", "json",
        )  # fmt: skip
        assert lost.code == ExitCode.VERIFICATION
        assert lost.json()["matches"]["ended"] == 1
        assert len(lost.json()["verification"]["missing"]) == 1
    finally:
        supervisor(operator).start("worker")
    healthy = ("health", "--region", REGION, "--only", "worker", "--only", "match")
    eventually(lambda: operator.run(*healthy).code == ExitCode.OK, 60, "the worker is back")


def test_a_load_test_survives_the_loss_of_a_server(operator: Operator) -> None:
    ports = Ports(operator)
    running = operator.start(
        "loadtest", "--region", REGION, "--players", "6", "--matches-of", "2", "--duration", "8", "--output", "json"
    )
    eventually(lambda: ports.matches() == 3, 60, "three matches are played")
    busiest = max(ports.statuses(), key=lambda status: status["matches"])
    os.kill(busiest["pid"], signal.SIGKILL)
    stdout, stderr = running.communicate(timeout=200)
    assert running.returncode == ExitCode.OK, stdout + stderr
    report = json.loads(stdout)
    assert report["matches"] == {"started": 3, "ended": 3}
    assert report["regions"][0]["reconnects"] >= 1
    assert report["verification"]["verified"] is True
    eventually(lambda: all(server["state"] == "ready" for server in servers(operator)), 60, "every server is ready")
    assert next(server for server in servers(operator) if server["id"] == busiest["server_id"])["incidents"] >= 1


def test_an_interrupted_load_test_still_reports(operator: Operator) -> None:
    ports = Ports(operator)
    joins = ports.joins()
    running = operator.start(
        "loadtest", "--region", REGION, "--players", "2", "--duration", "60", "--mode", "probe", "--output", "json"
    )
    eventually(lambda: ports.joins() >= joins + 4, 60, "both bots have played one match and joined the next")
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == ExitCode.INTERRUPTED, stderr
    report = json.loads(stdout)
    assert report["interrupted"] is True
    assert report["matches"]["ended"] >= 1
    assert report["verification"]["missing"] == []
    assert "Traceback" not in stderr


def on_aws(operator: Operator) -> Contract:
    """Return the region's contract as if it were on AWS: a sign-up is not confirmed, and PostgreSQL is private."""
    contract = Contract.parse(operator.contract())
    database = contract.database.model_copy(update={"access": "private", "port": 1})
    return contract.model_copy(update={"target": "sandbox", "database": database})


def emails_of_internal_accounts(contract: Contract) -> list[str]:
    with RegionClients(contract) as clients:
        pool = {"UserPoolId": contract.identity.user_pool_id, "GroupName": "internal"}
        users = clients.client("cognito-idp").list_users_in_group(**pool)["Users"]
    return [part["Value"] for user in users for part in user["Attributes"] if part["Name"] == "email"]


def test_a_load_test_on_aws_creates_its_accounts_and_removes_them(operator: Operator) -> None:
    contract = on_aws(operator)
    plan = LoadPlan("aws", players=4, duration_seconds=8, mode="probe", match_seconds=4, players_per_match=2)
    (outcome,) = asyncio.run(run_loadtest({REGION: contract}, plan, on_progress=lambda _: None))
    assert outcome.error is None, outcome.error
    assert outcome.value is not None
    report = outcome.value
    assert report.tally.errors == {}
    assert report.tally.ended
    assert report.verification is not None
    assert report.verification.complete, report.verification
    assert "signup" not in report.tally.api_ms
    assert [email for email in emails_of_internal_accounts(contract) if email.startswith("bot-aws-")] == []


def test_the_probe_players_on_aws_are_created_by_the_operator(operator: Operator, tmp_path: Path) -> None:
    contract = on_aws(operator)

    def probe() -> dict[str, Any]:
        report = asyncio.run(run_health("local", {REGION: contract}, {REGION: tmp_path}, only=["login", "match"]))
        assert [(result.name, str(result.status)) for result in report.results] == [
            ("login", "pass"),
            ("match", "pass"),
        ], report.results
        return dict(report.results[0].evidence)

    first = probe()
    account = tmp_path / "probe-1.json"
    email = json.loads(account.read_text())["email"]
    assert email in emails_of_internal_accounts(contract)
    assert probe()["player_id"] == first["player_id"]
    # An account whose password no longer fits is removed and created again.
    account.write_text(json.dumps(json.loads(account.read_text()) | {"password": "another Horse 7 battery"}))
    assert probe()["player_id"] != first["player_id"]
    assert email not in emails_of_internal_accounts(contract)


def test_health_watch_continues_until_it_is_interrupted(operator: Operator) -> None:
    watching = operator.start("health", "--region", REGION, "--only", "redis", "--watch", "--interval", "0.5")
    assert watching.stdout is not None
    rounds = 0
    while rounds < 2:
        rounds += watching.stdout.readline().startswith("healthy")
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=120)
    assert watching.returncode == ExitCode.INTERRUPTED


def test_all_regions_means_every_deployed_region(operator: Operator) -> None:
    status = operator.run("status", "--all-regions", "--output", "json").json()
    deployed = [region["region"] for region in status["regions"] if region["state"] == "deployed"]
    assert REGION in deployed
    for line in (("cache", "stats"), ("health", "--only", "redis")):
        everywhere = operator.run(*line, "--all-regions", "--output", "json")
        assert everywhere.code == ExitCode.OK, everywhere.stderr
        assert [region["region"] for region in everywhere.json()["regions"]] == deployed
