"""Tests that a plan refuses wrong input of the stacks, with a message that names the necessary change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import inputs
import pytest
import terraform_cli

from mjctl.sandbox.emulators import Emulators

ENVIRONMENT = inputs.environment("prod")
CONTRACT = inputs.foundation_contract(
    ENVIRONMENT, f"arn:aws:secretsmanager:us-east-1:{inputs.ACCOUNT_ID}:secret:x-AbCdEf"
)


def refusal(root: terraform_cli.Root, variables: dict[str, Any]) -> str:
    """Return the error that Terraform reports for invalid input, on one line."""
    with pytest.raises(terraform_cli.TerraformFailed) as failed:
        root.plan(variables)
    return re.sub(r"[\s│╷╵]+", " ", str(failed.value))


@pytest.fixture(scope="module")
def foundation(tree: Path, emulator: Emulators, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the errors of one plan whose input has every fault at once. Terraform reports the error of every fault."""
    root = terraform_cli.initialised(
        tree / "stacks" / "foundation", tmp_path_factory.mktemp("foundation"), emulator.endpoints()
    )
    zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
    return refusal(
        root,
        inputs.foundation(
            ENVIRONMENT,
            account_id="1234",
            environment="production-of-the-far-east",
            regions=[
                {"name": "us-east-1", "cidr": "10.10.0.0/16", "zones": zones},
                {"name": "us-east-1", "cidr": "10.20.0.0/16", "zones": zones[:2]},
                {"name": "eu-west-1", "cidr": "10.10.128.0/18", "zones": ["eu-west-1a", "eu-west-1b", "eu-west-1b"]},
            ],
        ),
    )


@pytest.mark.parametrize(
    "message",
    [
        "account_id must be twelve digits",
        "<project>-<environment> must have at most 22 characters",
        "shorten project or environment",
        "regions contains a region twice, and both entries would own the same resources: remove one",
        "Each of regions needs at least three different zones: add a zone",
        "Two VPC ranges in regions overlap",
        "Give each region its own range, for example 10.10.0.0/16 and 10.20.0.0/16",
    ],
)
def test_foundation_refuses(message: str, foundation: str) -> None:
    assert message in foundation


@pytest.fixture(scope="module")
def region(tree: Path, emulator: Emulators, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the errors of one plan with faults that the stack refuses, and faults that its modules refuse."""
    folder = tmp_path_factory.mktemp("region")
    root = terraform_cli.initialised(tree / "stacks" / "region", folder, emulator.endpoints())
    variables = inputs.region(ENVIRONMENT, "us-east-1", CONTRACT, folder / "functions.zip")
    variables["backup"]["copy_region"] = "us-east-1"
    variables["cache"] = {"replicas": 0}
    variables["database"] = {"instances": 1, "capacity": {"min": 4, "max": 2}}
    variables["functions"]["reserved_concurrency"] = {"api": 150, "persistence": 50}
    variables["game"] |= {"min_tasks": 9, "max_tasks": 9}
    variables["network"] |= {"zones": ["us-east-1a", "us-east-1b"], "cidr": "10.10.0.0/24", "nat": "none"}
    variables["operators"] = ["*"]
    return refusal(root, variables)


@pytest.mark.parametrize(
    "message",
    [
        "backup.copy_region must differ from region",
        "game.min_tasks must be below game.max_tasks, or the fleet cannot scale: lower min_tasks or raise max_tasks",
        "zones must contain three to six availability zones",
        "cidr must be an IPv4 range from /16 to /20",
        "nat must be per_zone or single",
        "replicas must be 1 to 5",
        "instances must be 2 to 15",
        "functions.reserved_concurrency.api and persistence together must be below 200",
        "capacity.min must be at least 8 in an environment with several regions",
        "capacity.min must not be above capacity.max: lower min or raise max",
        "operators must contain ARNs of IAM roles or users",
    ],
)
def test_region_refuses(message: str, region: str) -> None:
    assert message in region
