"""Checks that `drift` and `plan` show a change that was made outside of mjctl, and that `deploy` repairs it."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.clients.boto import RegionClients
from mjctl.models.contract import Contract
from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator, eventually

pytestmark = pytest.mark.stack


def servers(operator: Operator) -> dict[str, Any]:
    ran = operator.run("servers", "list", "--region", REGION, "--output", "json")
    return {server["id"]: server for server in ran.json()["regions"][0]["servers"]}


def test_the_data_plane_is_compared_and_repaired_and_players_notice_nothing(operator: Operator) -> None:
    assert operator.run("deploy", "--region", REGION, "--auto-approve").code == ExitCode.OK
    before = {name: server["pid"] for name, server in servers(operator).items()}
    contract = Contract.parse(operator.contract())
    with RegionClients(contract) as clients:
        clients.client("dynamodb").delete_table(TableName=contract.tables["processed_events"].name)
        clients.client("sns").delete_topic(TopicArn=contract.topics["events"])
        clients.client("sqs").set_queue_attributes(
            QueueUrl=contract.queues["persistence"].url, Attributes={"VisibilityTimeout": "7"}
        )
    prefix = f"{contract.project}-{contract.environment}"
    expected = {
        f"queue {prefix}-persistence has VisibilityTimeout 7: a deploy sets it to 60",
        f"table {prefix}-processed_events is missing: a deploy creates it again, empty",
        f"topic {prefix}-events is missing: a deploy creates it again, with its subscriptions",
    }
    for command in ("drift", "plan"):
        ran = operator.run(command, "--region", REGION, "--output", "json")
        assert ran.code == ExitCode.CHANGES_PENDING, ran.stderr
        (region,) = ran.json()["regions"]
        assert set(region["notes"]) == expected
        assert [change["address"] for change in region["changes"]] == ["terraform_data.data_plane_repair"]
        assert all(note in ran.stderr for note in expected)
    assert operator.run("deploy", "--region", REGION, "--auto-approve").code == ExitCode.OK
    ran = operator.run("drift", "--region", REGION)
    assert ran.code == ExitCode.OK, ran.stdout
    assert {name: server["pid"] for name, server in servers(operator).items()} == before

    def healthy() -> bool:
        checks = ("table/*", "queue/*", "topic/*", "match")
        only = [argument for check in checks for argument in ("--only", check)]
        return operator.run("health", "--region", REGION, *only).code == ExitCode.OK

    eventually(healthy, 60, "the repaired parts are healthy, and a match reaches them")


@pytest.mark.parametrize("command", ["drift", "outputs", "rollback", "servers scale"])
def test_all_regions_names_those_that_are_not_deployed_and_works_on_the_others(
    operator: Operator, command: str
) -> None:
    extra = {"rollback": ("--auto-approve", "--no-gate"), "servers scale": ("1", "--auto-approve")}.get(command, ())
    ran = operator.run(*command.split(), *extra, "--all-regions", "--output", "json")
    if command == "rollback" and ran.code == ExitCode.NOT_FOUND:
        # A region that was deployed once has no earlier revision. The error of `rollback` must name the region.
        assert REGION in ran.stderr
        return
    assert ran.code == ExitCode.OK, ran.stderr
    if command == "outputs":
        assert [entry["region"] for entry in ran.json()["regions"]] == [REGION]
        return
    outcomes = {region["region"]: region["outcome"] for region in ran.json()["regions"]}
    assert outcomes.pop(REGION) == ("rolled_back" if command == "rollback" else "unchanged")
    assert set(outcomes.values()) == {"not_deployed"}
    assert len(outcomes) >= 1


def test_all_regions_without_any_region_is_not_found(fresh: Operator) -> None:
    ran = fresh.run("drift", "--all-regions")
    assert ran.code == ExitCode.NOT_FOUND
    assert "mjctl deploy --env local --region" in ran.stderr
