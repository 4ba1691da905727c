from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy.planner import aws_inputs
from mjctl.deploy.releases.release_artifacts import Package
from mjctl.models.aws_settings import FirewallSettings, PlayerAccounts
from mjctl.models.config_file import load_environment
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace

WORKSPACE = Workspace.discover(Path(__file__))
STATE = aws_inputs.StateStore("states", "arn:aws:kms:us-east-1:123456789012:key/1")
PACKAGE = Package("/functions.zip", "c2hh", "arm64", "ab" * 32)


def environment(name: str) -> Environment:
    return load_environment(WORKSPACE, name)


def contract(environment: Environment) -> dict[str, Any]:
    home = environment.primary_region
    url = f"123456789012.dkr.ecr.{home}.amazonaws.com/arena/game"
    return {"primary_region": home, "registry": {"repository_url": url}}


def variables(name: str) -> dict[str, dict[str, Any]]:
    loaded = environment(name)
    return {
        "foundation": aws_inputs.foundation(loaded, STATE),
        "region": aws_inputs.region(loaded, list(loaded.regions)[-1], contract(loaded), PACKAGE),
        "edge": aws_inputs.edge(loaded, contract(loaded), {}),
    }


@pytest.mark.parametrize("name", ["dev", "staging", "prod", "sandbox"])
def test_each_stack_declares_every_given_variable_and_gets_every_required_variable(name: str) -> None:
    """Check the names of variables, because Terraform only warns of a misspelt variable and ignores its value."""
    for stack, given in variables(name).items():
        text = (WORKSPACE.stack_dir(stack) / "variables.tf").read_text(encoding="utf-8")
        blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        declared = {variable for variable, _ in blocks}
        required = {variable for variable, body in blocks if not re.search(r"^  default\b", body, re.MULTILINE)}
        assert required <= given.keys() <= declared, stack


def test_sizes_that_the_environments_file_omits_keep_the_defaults_of_the_stack() -> None:
    region = variables("prod")["region"]
    assert region["cache"] == {}
    assert region["database"] == {}
    assert "cpu" not in region["game"]
    assert "log_retention_days" not in region


def test_sizes_in_the_environments_file_are_passed_to_the_stack() -> None:
    dev = variables("dev")
    assert dev["region"]["cache"] == {"node_type": "cache.t4g.small", "replicas": 1}
    assert dev["region"]["network"]["nat"] == "single"
    assert dev["region"]["backup"] == {"copy_region": "eu-central-1", "lock": False}
    assert dev["edge"]["price_class"] == "PriceClass_100"


def test_every_public_entry_gets_the_settings_of_the_firewall() -> None:
    prod = environment("prod")
    firewall = FirewallSettings(native_clients=True, rate_limit=50_000)
    changed = prod.model_copy(update={"aws": prod.account.model_copy(update={"firewall": firewall})})
    region = aws_inputs.region(changed, "us-east-1", contract(changed), PACKAGE)
    edge = aws_inputs.edge(changed, contract(changed), {})
    assert region["firewall"] == edge["firewall"] == {"native_clients": True, "rate_limit": 50_000}
    assert variables("prod")["region"]["firewall"] == variables("prod")["edge"]["firewall"] == {}


@pytest.mark.parametrize(("written", "passed"), [("block", "ENFORCED"), ("record", "AUDIT"), ("none", "OFF")])
def test_the_pool_of_the_players_gets_the_threat_protection_of_the_environments_file(written: Any, passed: str) -> None:
    prod = environment("prod")
    accounts = PlayerAccounts(threat_protection=written)
    changed = prod.model_copy(update={"aws": prod.account.model_copy(update={"accounts": accounts})})
    assert aws_inputs.foundation(changed, STATE)["identity"] == {"threat_protection": passed}
    assert aws_inputs.foundation(prod, STATE)["identity"] == {}


def test_after_a_failover_the_variable_writer_is_true_only_in_the_region_with_the_writer() -> None:
    prod = environment("prod")
    database = prod.account.database.model_copy(update={"writer_region": "eu-west-1"})
    moved = prod.model_copy(update={"aws": prod.account.model_copy(update={"database": database})})
    writers = {
        name: aws_inputs.region(moved, name, contract(moved), PACKAGE)["database"]["writer"] for name in moved.regions
    }
    assert writers == {"us-east-1": False, "eu-west-1": True, "ap-northeast-1": False}


def test_roles_for_a_pipeline_exist_only_if_the_environments_file_names_a_pipeline() -> None:
    assert variables("dev")["foundation"]["ci"] is None
    ci = variables("prod")["foundation"]["ci"]
    assert ci["state_bucket"] == "states"
    assert ci["subjects"]["plan"] == ["repo:studio/arena:pull_request", "repo:studio/arena:ref:refs/heads/main"]
    assert ci["subjects"]["drill"] == []
    assert variables("staging")["foundation"]["ci"]["subjects"]["drill"] == ["repo:studio/arena:ref:refs/heads/main"]


def test_only_a_real_account_is_protected_by_default() -> None:
    assert variables("prod")["region"]["protect"] is True
    assert variables("sandbox")["region"]["protect"] is False
    assert variables("staging")["foundation"]["protect"] is False


def test_a_region_pulls_the_image_from_its_own_registry_by_digest() -> None:
    image = variables("prod")["region"]["game"]["image"]
    assert image == f"123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/arena/game@sha256:{'ab' * 32}"


def test_only_an_emulated_aws_is_described_to_the_stack() -> None:
    assert variables("prod")["region"]["emulated_aws"] is None
    sandbox = environment("sandbox")
    emulated = {"endpoint_url": "http://127.0.0.1:1", "secret": None, "service_endpoint_urls": {}, "stage": None}
    name = sandbox.primary_region
    given = aws_inputs.region(sandbox, name, contract(sandbox), PACKAGE, emulated_aws=emulated)
    assert given["emulated_aws"] == emulated


def test_the_maximum_of_tasks_is_always_larger_than_the_minimum() -> None:
    prod = environment("prod")
    assert aws_inputs.tasks(prod, "us-east-1", 4) == {"min_tasks": 12, "max_tasks": 120}
    assert aws_inputs.tasks(prod, "us-east-1", 50) == {"min_tasks": 150, "max_tasks": 153}
