"""Tests that a destroy is refused before it changes anything if AWS would refuse a part of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.clients import global_database
from mjctl.clients.global_database import Copy, GlobalDatabase
from mjctl.deploy.teardown import ProductionTeardown
from mjctl.models.config_file import load_environment
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, UnreachableError
from mjctl.models.workspace import Workspace

ENVIRONMENT = load_environment(Workspace.discover(Path(__file__)), "prod")
PRIMARY, SECOND, THIRD = ENVIRONMENT.regions
NAMES = ("alarm_prefix", "alarm_topic", "api_id", "cache_group", "certificate", "database_cluster", "load_balancer")
MANAGED = {**dict.fromkeys((*NAMES, "primary_region", "target_group", "web_acl", "web_domain"), "x"), "functions": {}}


class Deployment:
    """Counts the units that are planned, of which none exists."""

    planned = 0

    async def plan(self, states: list[Any], *, destroy: bool = False) -> list[Any]:
        self.planned += len(states)
        return []


@pytest.fixture
def destroy(make_contract: Callable[..., Contract], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that plans the destroy of regions, with the writer of the database in a certain region."""

    async def plan(regions: tuple[str, ...], writer: str | None, lost: tuple[str, ...] = ()) -> Deployment:
        async def read_database(contract: Contract) -> GlobalDatabase:
            if contract.region in lost:
                raise UnreachableError(f"{contract.region} is lost")
            copies = tuple(Copy(name, f"arn:{name}", name == writer, in_sync=True) for name in ENVIRONMENT.regions)
            return GlobalDatabase("arena-prod-global", "available", copies)

        monkeypatch.setattr(global_database, "read_database", read_database)
        published = {name: make_contract(name, managed=MANAGED).model_dump(mode="json") for name in regions}
        states: Any = SimpleNamespace(
            published=lambda region: {"contract": published[region]},
            stack=lambda unit: SimpleNamespace(unit=unit, exists=lambda: False),
        )
        release: Any = None
        remaining = tuple(name for name in ENVIRONMENT.regions if name not in regions)
        deployment: Any = Deployment()
        everything = not remaining
        await ProductionTeardown(states, release, regions, remaining, PRIMARY, everything).plan(deployment)
        return deployment

    return plan


@pytest.mark.parametrize("regions", [(SECOND,), (SECOND, THIRD), ENVIRONMENT.regions], ids=len)
async def test_a_secondary_region_with_the_writer_is_not_destroyed(
    destroy: Callable[..., Any], regions: tuple[str, ...]
) -> None:
    with pytest.raises(ConflictError, match=f"writer of the database is in {SECOND}") as caught:
        await destroy(tuple(regions), SECOND)
    # The command works too if players have left the primary region before.
    assert f"--region {PRIMARY} --restore --with-writer" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("regions", "writer"), [((SECOND,), PRIMARY), ((SECOND,), THIRD), (ENVIRONMENT.regions, PRIMARY), ((SECOND,), None)]
)
async def test_other_regions_are_destroyed(
    destroy: Callable[..., Any], regions: tuple[str, ...], writer: str | None
) -> None:
    await destroy(tuple(regions), writer)


async def test_a_lost_region_is_destroyed(destroy: Callable[..., Any]) -> None:
    await destroy((SECOND,), SECOND, lost=(SECOND,))


async def test_a_lost_region_does_not_hide_the_writer_in_another_region(destroy: Callable[..., Any]) -> None:
    with pytest.raises(ConflictError, match=f"writer of the database is in {THIRD}"):
        await destroy((SECOND, THIRD), THIRD, lost=(SECOND,))
