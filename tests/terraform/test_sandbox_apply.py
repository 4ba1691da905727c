"""Applies the production stacks, unchanged, to an emulated AWS with mjctl's commands, and changes and destroys them.

Real processes run behind the resources (the stage), so that matches are played through the stacks.

configs/sandbox.yaml switches off the resources that no emulator supports. docs/emulated-aws.md lists the resources that
are switched off, with reasons. The tests of the plans of production cover the resources that are switched off.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import inputs
import psutil
import pytest
import terraform_cli
import yaml

from gameserver.runtime.distribution_pass import STORE_KEY
from mjctl.clients.account import Account, open_account
from mjctl.models.config_file import load_environment
from mjctl.models.contract import Contract
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox.stage import leftovers, names
from tests.documents import read_document
from tools.stage.checks import check_parts
from tools.stage.commands import Commands
from tools.stage.play import played_match

pytestmark = [pytest.mark.infra, pytest.mark.timeout(2400)]

needs_stage = pytest.mark.skipif(names.obstacle() is not None, reason="this machine cannot run a stage")

NOT_EMULATED = {
    "aws_backup_vault_lock_configuration",
    "aws_globalaccelerator_accelerator",
    "aws_globalaccelerator_endpoint_group",
    "aws_globalaccelerator_listener",
}


@dataclass
class Sandbox:
    """Holds a copy of the project, which no other process changes, and its home folder."""

    project: Path
    home: Path
    seconds: dict[str, float] = field(default_factory=dict)
    deployed: dict[str, Any] = field(default_factory=dict)

    def mjctl(self, *arguments: str, codes: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run a command on the environment `sandbox` and return its JSON document."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments, "--env", "sandbox", "--output", "json"],
            env={**os.environ, "MJCTL_PROJECT_DIR": str(self.project), "MJCTL_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        self.seconds[" ".join(arguments)] = time.monotonic() - started
        assert done.returncode in codes, (
            f"mjctl {arguments}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-6000:]}"
        )
        document: dict[str, Any] = read_document(done.stdout)
        return document

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.project, self.home)

    @cached_property
    def environment(self) -> Environment:
        return load_environment(self.workspace, "sandbox")

    @cached_property
    def account(self) -> Account:
        return open_account(self.workspace, self.environment)

    @cached_property
    def outputs(self) -> dict[str, Any]:
        return {entry["region"]: entry["outputs"] for entry in self.mjctl("outputs")["regions"]}

    def state(self, unit: str) -> str:
        stored = self.account.read(f"{self.environment.project}-{self.environment.name}/{unit}.tfstate")
        assert stored is not None
        return stored[0].decode()

    def processes(self) -> list[psutil.Process]:
        """List the processes behind the resources."""
        folder = self.workspace.environment_dir("sandbox") / "sandbox" / "state" / "ministack" / "stage"
        return leftovers.processes(folder)

    def change(self) -> None:
        """Change the environment's file so that every stack has something to do."""
        path = self.project / "configs" / "sandbox.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document["aws"]["pipeline"]["subjects"]["plan"].append("repo:studio/arena:ref:refs/heads/main")
        document["aws"] |= {"cache": {"snapshot_retention_days": 8}, "price_class": "PriceClass_100"}
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


# Names of attributes whose values are secrets, in the AWS provider's resources that the stacks use.
_SECRET_NAMES = re.compile(
    r"(^|_)(password|client_secret|secret_string|secret_binary|auth_token|private_key|secret_key)$"
)


def _secrets(sandbox: Sandbox) -> dict[str, str]:
    """Return the pass of the distribution, and every secret in Secrets Manager by its name."""
    secrets = {}
    for region in sandbox.environment.regions:
        manager = sandbox.account.client("secretsmanager", region)
        for secret in manager.list_secrets()["SecretList"]:
            text = manager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            for name, value in json.loads(text).items():
                # Short values such as a user's name or a port are no secrets.
                if len(str(value)) >= 20:
                    secrets[f"{secret['Name']} {name}"] = str(value)
    store = sandbox.outputs["edge"]["pass_store_arn"]
    values = sandbox.account.client("cloudfront-keyvaluestore", "us-east-1")
    return {**secrets, "distribution's pass": values.get_key(KvsARN=store, Key=STORE_KEY)["Value"]}


def _secret_attributes(node: object, path: str = "") -> Iterator[str]:
    """Yield the path of each attribute of a state that is named like a secret and has a value."""
    if isinstance(node, dict):
        for name, value in node.items():
            if _SECRET_NAMES.search(name) and value:
                yield f"{path}.{name}"
            yield from _secret_attributes(value, f"{path}.{name}")
    elif isinstance(node, list):
        for item in node:
            yield from _secret_attributes(item, path)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Deploy all stacks once, on emulators that only these tests use."""
    folder = tmp_path_factory.mktemp("sandbox")
    for part in ("configs", "gameserver", "terraform", "web"):
        ignored = shutil.ignore_patterns("__pycache__", ".terraform*")
        shutil.copytree(inputs.PROJECT_DIR / part, folder / "project" / part, ignore=ignored)
    created = Sandbox(folder / "project", folder / "home")
    created.mjctl("sandbox", "up")
    try:
        created.mjctl("bootstrap", "--auto-approve")
        created.deployed = created.mjctl("deploy", "--all-regions", "--auto-approve")
        yield created
    finally:
        created.mjctl("sandbox", "down")


def test_every_stack_is_applied(sandbox: Sandbox, record_testsuite_property: Callable[[str, object], None]) -> None:
    results = {result["region"]: result for result in sandbox.deployed["regions"]}
    assert tuple(results) == sandbox.environment.units
    assert {result["outcome"] for result in results.values()} == {"applied"}
    assert {result["revision"] for result in results.values()} == {sandbox.deployed["regions"][0]["revision"]}
    record_testsuite_property("deploy_seconds", sandbox.seconds["deploy --all-regions --auto-approve"])
    for unit, result in results.items():
        record_testsuite_property(f"{unit}_seconds", result["seconds"])


def test_a_second_plan_changes_nothing(
    sandbox: Sandbox, record_testsuite_property: Callable[[str, object], None]
) -> None:
    planned = sandbox.mjctl("plan", "--all-regions")
    assert {result["region"]: result["outcome"] for result in planned["regions"]} == dict.fromkeys(
        sandbox.environment.units, "unchanged"
    )
    record_testsuite_property("plan_seconds", sandbox.seconds["plan --all-regions"])


@needs_stage
def test_every_region_is_healthy_with_a_log_in_and_a_match(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + 120
    while True:
        # The first calls of all functions start their processes, which can take longer than the time limit of a check.
        document = sandbox.mjctl("health", "--all-regions", codes=(0, 3))
        failed = [check for check in document["checks"] if check["status"] == "fail"]
        if not failed or time.monotonic() > deadline:
            break
    assert failed == []
    checks = {(check["region"], check["name"]): check["status"] for check in document["checks"]}
    for region in sandbox.environment.regions:
        assert {checks[region, name] for name in ("login", "match", "redis", "targets")} == {"pass"}


@needs_stage
def test_players_confirm_their_accounts_and_play_a_match_that_is_stored(
    sandbox: Sandbox, record_testsuite_property: Callable[[str, object], None]
) -> None:
    commands = Commands(sandbox.project, sandbox.home, progress=False)
    for region in sandbox.environment.regions:
        match = played_match(commands, region, by_region_name=True)
        assert match.url.startswith(f"wss://play-{region}.")
        assert match.profile_matches == 1
        assert match.item["state"] == "ended"
        for name, seconds in match.seconds.items():
            record_testsuite_property(f"{region}_{name.replace(' ', '_')}_seconds", round(seconds, 2))
        # `make stage` checks the same parts.
        check_parts(commands, match)
    # DynamoDB has the item of the last match in every region.
    for region in sandbox.environment.regions:
        table = sandbox.outputs[region]["tables"]["matches"]["name"]
        key = {"match_id": {"S": match.match_id}}
        assert (
            sandbox.account.client("dynamodb", region).get_item(TableName=table, Key=key)["Item"]["state"]["S"]
            == "ended"
        )


@needs_stage
def test_iam_refused_no_call_of_a_role(sandbox: Sandbox) -> None:
    assert sandbox.mjctl("sandbox", "calls", "--refused")["calls"] == []


@needs_stage
def test_a_killed_game_server_is_replaced(sandbox: Sandbox) -> None:
    region = sandbox.environment.primary_region
    ecs = sandbox.account.client("ecs", region)
    cluster = sandbox.outputs[region]["fleet"]["cluster"]

    def running() -> set[str]:
        return set(ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"])

    before = running()
    servers = [process for process in sandbox.processes() if "gameserver" in process.cmdline()]
    next(server for server in servers if server.environ()["AWS_REGION"] == region).kill()
    deadline = time.monotonic() + 120
    while (len(running()) < len(before) or running() == before) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(running()) == len(before)
    assert running() != before


def test_nothing_is_written_into_the_project(sandbox: Sandbox) -> None:
    assert list((sandbox.project / "terraform").rglob(".terraform*")) == []


def test_a_region_publishes_the_contract_that_mjctl_reads(sandbox: Sandbox) -> None:
    for region, settings in sandbox.environment.regions.items():
        contract = Contract.parse(sandbox.outputs[region])
        assert contract.region == region
        assert contract.zones == settings.zones
        assert contract.fleet.kind == "ecs"
        assert contract.cache.access == "ops_function"


def test_no_state_contains_a_secret(sandbox: Sandbox) -> None:
    secrets = _secrets(sandbox)
    assert [name for name in secrets if name.endswith(" password")] != []
    for unit in sandbox.environment.units:
        state = sandbox.state(unit)
        assert [name for name, value in secrets.items() if value in state] == [], unit
        assert list(_secret_attributes(json.loads(state))) == [], unit


def test_a_table_is_the_same_in_every_region(sandbox: Sandbox) -> None:
    item = {"match_id": {"S": "m-1"}, "state": {"S": "open"}, "created_at": {"N": "1"}}
    regions = list(sandbox.environment.regions)
    tables = [sandbox.outputs[region]["tables"]["matches"]["name"] for region in regions]
    clients = [sandbox.account.client("dynamodb", region) for region in regions]
    clients[0].put_item(TableName=tables[0], Item=item)
    assert clients[-1].get_item(TableName=tables[-1], Key={"match_id": {"S": "m-1"}})["Item"] == item


def test_an_event_reaches_the_queue(sandbox: Sandbox) -> None:
    contract = sandbox.outputs[sandbox.environment.primary_region]
    sns, sqs, functions = (sandbox.account.client(service) for service in ("sns", "sqs", "lambda"))
    # The function `persistence` would receive the message from the queue before the test does.
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        sns.publish(TopicArn=contract["topics"]["events"], Message='{"event_id": "m-1:1"}')
        url = contract["queues"]["persistence"]["url"]
        message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    finally:
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert message["Body"] == '{"event_id": "m-1:1"}'


def test_the_web_client_of_the_release_is_published(sandbox: Sandbox) -> None:
    bucket = sandbox.outputs["edge"]["web_bucket"]
    listed = sandbox.account.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert {"index.html", "config.json"} < {item["Key"] for item in listed}


def test_all_resources_exist_after_a_restart_and_after_a_kill_of_the_sandbox(sandbox: Sandbox) -> None:
    sandbox.mjctl("sandbox", "down")
    sandbox.mjctl("sandbox", "up")
    for emulator in sandbox.mjctl("sandbox", "status")["emulators"]:
        process = psutil.Process(emulator["pid"])
        process.kill()
        process.wait(10)
    sandbox.mjctl("sandbox", "up")
    planned = sandbox.mjctl("plan", "--all-regions")
    assert {result["outcome"] for result in planned["regions"]} == {"unchanged"}


def test_the_document_lists_the_resource_types_without_emulation(sandbox: Sandbox) -> None:
    states = [json.loads(sandbox.state(unit)) for unit in sandbox.environment.units]
    created = {item["type"] for state in states for item in state["resources"] if item["mode"] == "managed"}
    used = {
        line.split('"')[1]
        for file in terraform_cli.TERRAFORM_DIR.glob("*/*/*.tf")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith('resource "aws_')
    }
    assert used - created == NOT_EMULATED
    document = (inputs.PROJECT_DIR / "docs" / "emulated-aws.md").read_text(encoding="utf-8")
    assert [kind for kind in NOT_EMULATED if f"`{kind}`" not in document] == []
    assert f"{len(NOT_EMULATED)} of {len(used)} resource types" in document


def test_a_change_of_the_environment_updates_every_stack_in_place(sandbox: Sandbox) -> None:
    sandbox.change()
    deployed = sandbox.mjctl("deploy", "--all-regions", "--auto-approve")
    for result in deployed["regions"]:
        assert result["outcome"] == "applied", result["region"]
        # A data source that Terraform reads again is no change of a resource.
        assert {change["action"] for change in result["changes"]} - {"read"} == {"update"}, result
    assert {result["outcome"] for result in sandbox.mjctl("drift", "--all-regions")["regions"]} == {"unchanged"}


def test_the_primary_region_is_not_destroyed_before_the_others(sandbox: Sandbox) -> None:
    refused = sandbox.mjctl("destroy", "--region", sandbox.environment.primary_region, "--auto-approve", codes=[11])
    assert "must be destroyed last" in refused["error"]["what"]


def test_destroy_leaves_nothing(sandbox: Sandbox, record_testsuite_property: Callable[[str, object], None]) -> None:
    destroyed = sandbox.mjctl("destroy", "--all-regions", "--auto-approve")
    assert {result["region"]: result["outcome"] for result in destroyed["regions"]} == dict.fromkeys(
        sandbox.environment.units, "destroyed"
    )
    record_testsuite_property("destroy_seconds", sandbox.seconds["destroy --all-regions --auto-approve"])
    for unit in sandbox.environment.units:
        assert json.loads(sandbox.state(unit))["resources"] == []
    assert {unit["state"] for unit in sandbox.mjctl("status")["regions"]} == {"absent"}
    assert sandbox.processes() == []
