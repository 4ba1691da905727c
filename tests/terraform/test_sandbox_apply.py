"""The production stacks, unchanged, on an emulated AWS by the real provider: made, left alone, changed, and taken away.

What no emulator can do is switched off by SWITCHES; docs/emulated-aws.md says why, and production's plans cover it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import inputs
import pytest
import terraform_cli

from mjctl.models.contract import Contract
from mjctl.sandbox.emulators import Emulators

pytestmark = [pytest.mark.infra, pytest.mark.timeout(2400)]

ENVIRONMENT = inputs.environment("sandbox")
REGIONS = list(ENVIRONMENT.regions)
STATE_BUCKET = "arena-terraform-state-sandbox"

# The variables that leave out what no emulator can do, and the resource types that are then not made.
SWITCHES = {
    "edge": {"routing": "latency"},
    "region": {"lock": False},
}
NOT_EMULATED = {
    "aws_backup_vault_lock_configuration",
    "aws_globalaccelerator_accelerator",
    "aws_globalaccelerator_endpoint_group",
    "aws_globalaccelerator_listener",
}
CHANGES = {
    "foundation": {"identity": {"threat_protection": "AUDIT"}},
    **{region: {"cache": {"snapshot_retention_days": 8}, "log_retention_days": 30} for region in REGIONS},
    "edge": {"price_class": "PriceClass_100"},
}


@dataclass
class Deployment:
    """The stacks in the order in which they are applied, with what each published and how long it took."""

    tree: Path
    folder: Path
    emulators: Emulators
    roots: dict[str, terraform_cli.Root] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def apply(self, name: str, variables: dict[str, Any]) -> None:
        started = time.monotonic()
        if name not in self.roots:
            self.roots[name] = self._initialise(name)
        self.variables[name] = variables
        self.run(name, "apply", "-auto-approve")
        output = json.loads(self.roots[name].run("output", "-json"))
        self.outputs[name] = {key: item["value"] for key, item in output.items()}
        self.seconds[name] = time.monotonic() - started

    def run(self, name: str, command: str, *options: str, codes: tuple[int, ...] = (0,)) -> str:
        file = self.folder / f"{name}.tfvars.json"
        file.write_text(json.dumps(self.variables[name]), encoding="utf-8")
        arguments = [command, "-no-color", "-parallelism=30", f"-var-file={file}", *options]
        return self.roots[name].run(*arguments, codes=codes)

    def _initialise(self, name: str) -> terraform_cli.Root:
        stack = name if name in {"bootstrap", "edge", "foundation"} else "region"
        backend = None
        if name != "bootstrap":
            state = self.outputs["bootstrap"]["contract"]
            backend = {
                "bucket": state["bucket"],
                "key": f"{ENVIRONMENT.project}-{ENVIRONMENT.name}/{name}.tfstate",
                "kms_key_id": state["kms_key_arn"],
                "region": state["region"],
                "use_path_style": "true",
            }
        return terraform_cli.initialised(
            self.tree / "stacks" / stack, self.folder / name, self.emulators.endpoints(), backend
        )


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Everything applied once, on emulators of its own."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Emulators(folder) as emulators:
        yield _deployed(Deployment(terraform_cli.copy_tree(folder, states_in_files=False), folder, emulators))


def _deployed(made: Deployment) -> Deployment:
    home = inputs.primary_region(ENVIRONMENT)
    account = {"account_id": inputs.ACCOUNT_ID, "project": ENVIRONMENT.project, "target": "sandbox"}
    made.apply("bootstrap", {**account, "bucket": STATE_BUCKET, "region": home})
    made.apply("foundation", inputs.foundation(ENVIRONMENT))
    contract = made.outputs["foundation"]["contract"]
    package = made.folder / "functions.zip"
    package.write_bytes(inputs.EMPTY_ZIP)
    archive = {"path": str(package), "sha256": inputs.EMPTY_ZIP_SHA256}
    for region in REGIONS:
        variables = inputs.region(
            ENVIRONMENT, region, contract, archive, aws_endpoint_url=made.emulators.url("ministack")
        )
        variables["backup"] |= SWITCHES["region"]
        made.apply(region, variables)
    published = {region: made.outputs[region]["edge"] for region in REGIONS}
    made.apply("edge", inputs.edge(ENVIRONMENT, contract, published, shield_advanced=True, **SWITCHES["edge"]))
    return made


STACKS = ["foundation", *REGIONS, "edge"]


@pytest.mark.parametrize("name", ["bootstrap", *STACKS])
def test_a_second_plan_changes_nothing(
    name: str, deployment: Deployment, record_property: Callable[[str, object], None]
) -> None:
    record_property("apply_seconds", deployment.seconds[name])
    assert "No changes." in deployment.run(name, "plan", "-detailed-exitcode")


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_publishes_the_contract_that_mjctl_reads(region: str, deployment: Deployment) -> None:
    contract = Contract.parse(deployment.outputs[region]["contract"])
    assert contract.region == region
    assert contract.zones == ENVIRONMENT.regions[region].zones
    assert contract.fleet.kind == "ecs"
    assert contract.cache.access == "ops_function"


def test_the_master_password_stands_in_no_state(deployment: Deployment) -> None:
    secret = deployment.outputs["foundation"]["contract"]["database"]["secret_arn"]
    client = deployment.emulators.client("secretsmanager", REGIONS[0])
    password = json.loads(client.get_secret_value(SecretId=secret)["SecretString"])["password"]
    assert len(password) == 40
    for name in STACKS:
        assert password not in deployment.roots[name].run("state", "pull")


def test_a_table_is_the_same_in_every_region(deployment: Deployment) -> None:
    item = {"match_id": {"S": "m-1"}, "state": {"S": "open"}, "created_at": {"N": "1"}}
    tables = [deployment.outputs[region]["contract"]["tables"]["matches"]["name"] for region in REGIONS]
    clients = [deployment.emulators.client("dynamodb", region) for region in REGIONS]
    clients[0].put_item(TableName=tables[0], Item=item)
    assert clients[-1].get_item(TableName=tables[-1], Key={"match_id": {"S": "m-1"}})["Item"] == item


def test_an_event_reaches_the_queue(deployment: Deployment) -> None:
    contract = deployment.outputs[REGIONS[0]]["contract"]
    sns, sqs = (deployment.emulators.client(service, REGIONS[0]) for service in ("sns", "sqs"))
    # Its consumer would take the message first.
    functions = deployment.emulators.client("lambda", REGIONS[0])
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


@pytest.mark.parametrize("name", STACKS)
def test_a_change_is_made_in_place(name: str, deployment: Deployment) -> None:
    deployment.variables[name] |= CHANGES[name]
    deployment.run(name, "plan", f"-out={deployment.folder / name}.plan")
    plan = json.loads(deployment.roots[name].run("show", "-json", f"{deployment.folder / name}.plan"))
    made = [change["change"]["actions"] for change in plan["resource_changes"] if change["mode"] == "managed"]
    assert ["update"] in made
    assert all(actions in (["no-op"], ["update"]) for actions in made)
    deployment.apply(name, deployment.variables[name])
    assert "No changes." in deployment.run(name, "plan", "-detailed-exitcode")


def test_what_is_not_emulated_is_what_the_document_lists(deployment: Deployment) -> None:
    made = {
        resource["type"]
        for name in deployment.roots
        for resource in json.loads(deployment.roots[name].run("state", "pull"))["resources"]
        if resource["mode"] == "managed"
    }
    used = {
        line.split('"')[1]
        for file in terraform_cli.TERRAFORM_DIR.glob("*/*/*.tf")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith('resource "aws_')
    }
    assert used - made == NOT_EMULATED
    document = (inputs.PROJECT_DIR / "docs" / "emulated-aws.md").read_text(encoding="utf-8")
    assert [kind for kind in NOT_EMULATED if f"`{kind}`" not in document] == []
    assert f"{len(NOT_EMULATED)} of {len(used)} resource types" in document


@pytest.mark.parametrize("name", STACKS[::-1])
def test_destroy_leaves_nothing(name: str, deployment: Deployment) -> None:
    deployment.run(name, "destroy", "-auto-approve")
    assert json.loads(deployment.roots[name].run("state", "pull"))["resources"] == []
