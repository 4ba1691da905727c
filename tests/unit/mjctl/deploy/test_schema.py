"""Tests in which region a deploy updates the schema, and when it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.clients import global_database
from mjctl.clients.global_database import Copy, GlobalDatabase
from mjctl.deploy import schema
from mjctl.deploy.schema import SchemaUpdater
from mjctl.models.config_file import load_environment
from mjctl.models.contract import Contract
from mjctl.models.deployment import SchemaUpdate
from mjctl.models.errors import ConflictError, UnreachableError
from mjctl.models.workspace import Workspace

ENVIRONMENT = load_environment(Workspace.discover(Path(__file__)), "prod")
PRIMARY, SECOND, THIRD = ENVIRONMENT.regions
NAMES = ("alarm_prefix", "alarm_topic", "api_id", "cache_group", "certificate", "database_cluster", "load_balancer")
MANAGED = {**dict.fromkeys((*NAMES, "primary_region", "target_group", "web_acl", "web_domain"), "x"), "functions": {}}


@dataclass
class Deploy:
    """Runs the updater with regions that need not exist.

    Attributes:
        contracts: The published contract of each region.
        writer: The region of the writer, None during a move, or an error by the region that answers.
        ran: The regions in which the function `migrate` ran.
    """

    contracts: dict[str, dict[str, Any]]
    desired: Any
    writer: str | None = PRIMARY
    lost: set[str] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def updater(self) -> SchemaUpdater:
        planner: Any = SimpleNamespace(published=lambda region: self.contracts.get(region, {}))
        reporter: Any = SimpleNamespace(phase=lambda *_: None, note=lambda _, text: self.notes.append(text))
        return SchemaUpdater(planner, ENVIRONMENT, reporter)

    async def read_database(self, contract: Contract) -> GlobalDatabase | None:
        if contract.region in self.lost:
            raise UnreachableError(f"{contract.region} is lost")
        copies = tuple(Copy(name, f"arn:{name}", name == self.writer, in_sync=True) for name in self.contracts)
        return GlobalDatabase("global", "available", copies)


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_contract: Callable[..., Contract]) -> Deploy:
    def published(region: str) -> dict[str, Any]:
        managed = {**MANAGED, "functions": {"migrate": f"migrate-{region}"}}
        return {"contract": make_contract(region, managed=managed).model_dump(mode="json")}

    (tmp_path / "functions.zip").touch()
    package = {"path": "functions.zip", "sha256": "x"}
    desired = SimpleNamespace(
        unit=THIRD, stack=SimpleNamespace(source_dir=tmp_path), variables={"functions": {"package": package}}
    )
    deploy = Deploy({region: published(region) for region in ENVIRONMENT.regions}, desired)

    class Function:
        def __init__(self, contract: Contract) -> None:
            self._region = contract.region

        async def run(self, _archive: bytes, _sha256: str) -> SchemaUpdate:
            deploy.ran.append(self._region)
            return SchemaUpdate(self._region, (), ("0001_first",))

    monkeypatch.setattr(schema, "MigrateFunction", Function)
    monkeypatch.setattr(global_database, "read_database", deploy.read_database)
    return deploy


async def test_the_schema_is_updated_once_in_the_region_of_the_writer(deploy: Deploy) -> None:
    deploy.writer = SECOND
    updater = deploy.updater()
    await updater.run(deploy.desired)
    await updater.run(deploy.desired)
    assert deploy.ran == [SECOND]
    assert updater.update == SchemaUpdate(SECOND, (), ("0001_first",))
    assert deploy.notes == [f"schema: 1 migration applied in {SECOND}: 0001_first"]


async def test_another_region_names_the_writer_if_the_primary_region_is_lost(deploy: Deploy) -> None:
    deploy.writer, deploy.lost = SECOND, {PRIMARY}
    await deploy.updater().run(deploy.desired)
    assert deploy.ran == [SECOND]


async def test_a_deploy_fails_if_no_region_names_the_writer(deploy: Deploy) -> None:
    deploy.lost = set(ENVIRONMENT.regions)
    with pytest.raises(UnreachableError, match="lost"):
        await deploy.updater().run(deploy.desired)


async def test_a_deploy_fails_while_the_writer_moves(deploy: Deploy) -> None:
    deploy.writer = None
    with pytest.raises(ConflictError, match="no writer"):
        await deploy.updater().run(deploy.desired)


@pytest.mark.parametrize("missing", ["region", "function", "version"])
async def test_a_region_without_the_function_is_updated_after_its_apply(deploy: Deploy, missing: str) -> None:
    complete = dict(deploy.contracts)
    contract = complete[PRIMARY]["contract"]
    deploy.contracts = {
        "region": {},
        "function": {**complete, PRIMARY: {"contract": {**contract, "managed": MANAGED}}},
        "version": {PRIMARY: {"contract": {**contract, "unknown": 1}}},
    }[missing]
    updater = deploy.updater()
    await updater.run(deploy.desired)
    assert (deploy.ran, updater.update) == ([], None)
    deploy.contracts = complete
    await updater.run(deploy.desired)
    assert deploy.ran == [PRIMARY]


async def test_a_sandbox_without_a_stage_has_no_database_to_update(deploy: Deploy) -> None:
    contract = deploy.contracts[PRIMARY]["contract"]
    deploy.contracts[PRIMARY] = {"contract": {**contract, "endpoints": {**contract["endpoints"], "served": False}}}
    await deploy.updater().run(deploy.desired)
    assert deploy.ran == []
    assert "no database runs" in deploy.notes[0]


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (SchemaUpdate(PRIMARY, ("0004",), ()), "schema: up to date at 0004"),
        (SchemaUpdate(PRIMARY, ("0002",), ("a", "b")), f"schema: 2 migrations applied in {PRIMARY}: a, b"),
    ],
)
def test_an_update_is_described_in_one_line(update: SchemaUpdate, text: str) -> None:
    assert str(update) == text
