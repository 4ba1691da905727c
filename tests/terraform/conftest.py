"""Fixtures of the Terraform tests: one copy of the tree a session, one emulator for what a plan asks of AWS."""

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
    """A copy of terraform/ to run in."""
    return terraform_cli.copy_tree(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulator that a plan asks who it is and for the master secret; started once."""
    with Emulators(tmp_path_factory.mktemp("emulator"), names=["ministack"]) as running:
        yield running


@pytest.fixture(scope="session")
def prod_plans(tree: Path, emulator: Emulators, tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    """Plans of every stack of configs/prod.yaml by the real provider, from nothing.

    The inputs that another stack would publish are made up; the master secret, which the primary region reads at plan,
    exists in the emulator.
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
