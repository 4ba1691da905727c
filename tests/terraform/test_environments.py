"""Tests that the settings of an environment's file reach the resources in the plans of the real provider."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import inputs
import pytest
import terraform_cli

from gameserver.runtime.distribution_pass import secret_name
from gameserver.runtime.settings import Settings
from mjctl.deploy.planner import aws_inputs
from mjctl.models.environment import Environment
from mjctl.sandbox.emulators import Emulators

pytestmark = [pytest.mark.infra, pytest.mark.timeout(600)]

# test_well_architected.py checks the plans of prod in detail, and test_sandbox_apply.py applies sandbox.
NAMES = ["dev", "staging"]


class Planned:
    """Holds the plans of one environment's stacks."""

    def __init__(
        self,
        environment: Environment,
        roots: dict[str, terraform_cli.Root],
        variables: dict[str, dict[str, Any]],
    ) -> None:
        self.environment = environment
        self._roots = roots
        self._variables = variables
        with ThreadPoolExecutor() as pool:
            self._plans = dict(zip(roots, pool.map(self.plan, roots), strict=True))

    def plan(self, stack: str, **changes: Any) -> dict[str, Any]:
        """Plan a stack with other values of the variables in `changes`."""
        return self._roots[stack].plan({**self._variables[stack], **changes})

    def contract(self) -> dict[str, Any]:
        """Return the values of the region's contract that are known before the apply."""
        return contract_of(self._plans["region"])

    def resources(self) -> dict[str, Any]:
        """Return the planned attributes of the region's resources, by address."""
        return resources_of(self._plans["region"])

    def all(self, stack: str, kind: str) -> list[dict[str, Any]]:
        """List the attributes of every planned resource of one type."""
        changes = self._plans[stack]["resource_changes"]
        return [
            change["change"]["after"] for change in changes if change["mode"] == "managed" and change["type"] == kind
        ]


def contract_of(plan: dict[str, Any]) -> dict[str, Any]:
    contract: dict[str, Any] = plan["output_changes"]["contract"]["after"]
    return contract


def resources_of(plan: dict[str, Any]) -> dict[str, Any]:
    return {change["address"]: change["change"]["after"] for change in plan["resource_changes"]}


@pytest.fixture(scope="module", params=NAMES)
def planned(
    request: pytest.FixtureRequest, tree: Path, emulator: Emulators, tmp_path_factory: pytest.TempPathFactory
) -> Planned:
    """Plan the foundation, the primary region and the edge, with invented outputs of earlier stacks."""
    environment = inputs.environment(request.param)
    region = environment.primary_region
    folder = tmp_path_factory.mktemp(environment.name)
    secret = emulator.client("secretsmanager", region).create_secret(
        Name=f"arena-{environment.name}-database-master",
        SecretString='{"username": "game", "password": "not-a-secret"}',
    )
    contract = inputs.foundation_contract(environment, secret["ARN"])
    published = {name: inputs.region_edge(environment, name) for name in environment.regions}
    variables = {
        "foundation": inputs.foundation(environment),
        "region": inputs.region(environment, region, contract, inputs.empty_archive(folder)),
        "edge": aws_inputs.edge(environment, contract, published),
    }
    roots = {
        stack: terraform_cli.initialised(tree / "stacks" / stack, folder / stack, emulator.endpoints())
        for stack in variables
    }
    return Planned(environment, roots, variables)


def test_settings_of_the_file_reach_the_resources(planned: Planned) -> None:
    environment = planned.environment
    account = environment.account
    stores = {
        "state" if "-state-" in group["replication_group_id"] else "cache": group
        for group in planned.all("region", "aws_elasticache_replication_group")
    }
    assert len(stores) == 2
    for name, size in (("cache", account.cache), ("state", account.state)):
        assert stores[name]["node_type"] == size.node_type
    assert stores["cache"]["num_cache_clusters"] == 1 + (account.cache.replicas or 2)
    assert stores["state"]["replicas_per_node_group"] == (account.state.replicas or 2)
    assert stores["state"]["num_node_groups"] == (account.state.shards or 1)
    assert {instance["instance_class"] for instance in planned.all("region", "aws_rds_cluster_instance")} == {
        account.database.instance_class
    }
    (network,) = planned.all("region", "aws_vpc")
    assert network["cidr_block"] == environment.cidr(environment.primary_region)
    gateways = 1 if account.network.nat == "single" else len(environment.regions[environment.primary_region].zones)
    assert len(planned.all("region", "aws_nat_gateway")) == gateways
    assert planned.all("region", "aws_backup_vault_lock_configuration") == []
    assert bool(planned.all("foundation", "aws_iam_openid_connect_provider")) == (account.pipeline is not None)
    (distribution,) = planned.all("edge", "aws_cloudfront_distribution")
    assert distribution["price_class"] == (account.price_class or "PriceClass_All")
    assert planned.all("edge", "aws_globalaccelerator_accelerator") == []


def test_the_function_auth_can_read_the_networks_and_the_passes_of_cloudfront(planned: Planned) -> None:
    """Check the function `auth`, because a plan does not know the environments of functions with a database."""
    if planned.environment.name != NAMES[0]:
        pytest.skip("one environment is enough")
    (auth,) = [f for f in planned.all("region", "aws_lambda_function") if f["function_name"].endswith("-auth")]
    settings = Settings.from_env(auth["environment"][0]["variables"])
    assert [network.version for network in settings.edge_networks] == [4]
    assert settings.distribution_passes == secret_name(settings.project, settings.environment)
    (secret,) = [s for s in planned.all("foundation", "aws_secretsmanager_secret") if "passes" in s["name"]]
    assert secret["name"] == settings.distribution_passes


def test_an_emulated_aws_changes_the_contract_and_no_resource(planned: Planned) -> None:
    """Check that the game's processes get no setting of the sandbox, so that a sandbox tests the real settings."""
    if planned.environment.name != NAMES[0]:
        pytest.skip("one environment is enough")
    emulated = {"endpoint_url": "http://127.0.0.1:1", "secret": "file:/key.json"}
    stage = {"ca_file": "/stage/authority.pem", "names_file": "/stage/names.json"}
    with_stage = planned.plan("region", emulated_aws={**emulated, "stage": stage})
    assert resources_of(with_stage) == planned.resources()
    contract = contract_of(with_stage)
    assert contract["aws"]["endpoint_url"] == emulated["endpoint_url"]
    assert contract["aws"]["secret"] == emulated["secret"]
    assert (contract["ca_file"], contract["names_file"]) == (stage["ca_file"], stage["names_file"])
    assert contract["endpoints"]["served"] is True
    assert contract_of(planned.plan("region", emulated_aws=emulated))["endpoints"]["served"] is False
    assert planned.contract()["endpoints"]["served"] is True
    assert planned.contract()["aws"]["endpoint_url"] is None
