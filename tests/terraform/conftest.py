"""Provides one copy of terraform/ and one emulated AWS for each test session, and the plans of production."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import inputs
import terraform_cli

from mjctl.deploy.planner import aws_inputs
from mjctl.sandbox.emulators import Emulators
from tools.plan_model import Plan


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of terraform/ in which tests run Terraform."""
    return terraform_cli.copy_tree(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Return the emulated AWS, from which a plan reads its account and the master secret."""
    with Emulators(tmp_path_factory.mktemp("emulator"), names=["ministack"]) as running:
        yield running


@pytest.fixture(scope="session")
def prod_plans(tree: Path, emulator: Emulators, tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    """Plan every stack of configs/prod.yaml with the real provider, from empty states.

    The fixture invents the outputs of earlier stacks. The master secret, which a plan of the primary region reads,
    exists in the emulated AWS.
    """
    folder = tmp_path_factory.mktemp("prod")
    environment = inputs.environment("prod")
    archive = inputs.empty_archive(folder)
    secret = emulator.client("secretsmanager", environment.primary_region).create_secret(
        Name="arena-prod-database-master", SecretString='{"username": "game", "password": "not-a-secret"}'
    )
    contract = inputs.foundation_contract(environment, secret["ARN"])
    stacks = {"foundation": ("foundation", environment.primary_region, inputs.foundation(environment))}
    for region in environment.regions:
        stacks[f"region {region}"] = ("region", region, inputs.region(environment, region, contract, archive))
    published = {region: inputs.region_edge(environment, region) for region in environment.regions}
    stacks["edge"] = ("edge", environment.primary_region, aws_inputs.edge(environment, contract, published))
    plans = []
    for name, (stack, region, variables) in stacks.items():
        root = terraform_cli.initialised(tree / "stacks" / stack, folder / name.replace(" ", "-"), emulator.endpoints())
        plans.append(Plan(name, region, root.plan(variables)))
    return plans
