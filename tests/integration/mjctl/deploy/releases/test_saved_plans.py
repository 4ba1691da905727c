from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.models.errors import ConflictError, NotFoundError, PermissionDeniedError

REGION = "us-east-1"


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    folder = PlanFolder(tmp_path / "plans")
    folder.prepare()
    return folder


def wanted(project: Any, region: str = REGION) -> Any:
    return project.planner.for_release(region, project.store.of_working_tree())


async def test_saved_plans_are_private_and_removed_after_they_are_applied(project: Any, folder: PlanFolder) -> None:
    planned = await project.plan([REGION], folder=folder)
    assert folder.path.stat().st_mode & 0o077 == 0
    files = sorted(path.name for path in folder.path.iterdir())
    assert files == [f"test.{REGION}.local.{end}" for end in ("seal.json", "tfplan", "tfvars.json")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.path.iterdir())

    loaded = await project.deployment.load_saved([wanted(project)], folder)
    addresses = {change.address for change in planned[0].result.changes}
    assert {change.address for change in loaded[0].result.changes} == addresses
    assert loaded[0].result.add == 2
    (result,) = await project.deployment.apply(loaded)
    assert str(result.outcome) == "applied"
    folder.remove(loaded[0].stack)
    assert not folder.path.exists()
    assert project.word(REGION) == "one"


async def test_a_plan_without_changes_is_saved_too(project: Any, folder: PlanFolder) -> None:
    await project.deploy(regions=[REGION])
    await project.plan([REGION], folder=folder)
    loaded = await project.deployment.load_saved([wanted(project)], folder)
    assert str(loaded[0].result.outcome) == "unchanged"


async def test_a_plan_of_another_region_is_refused(project: Any, folder: PlanFolder) -> None:
    await project.plan([REGION], folder=folder)
    with pytest.raises(NotFoundError, match="no saved plan of eu-west-1"):
        await project.deployment.load_saved([wanted(project, "eu-west-1")], folder)
    for path in list(folder.path.iterdir()):
        path.rename(path.with_name(path.name.replace(REGION, "eu-west-1")))
    with pytest.raises(ConflictError, match="cannot be applied"):
        await project.deployment.load_saved([wanted(project, "eu-west-1")], folder)
    assert not project.planner.stack("eu-west-1").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("region", "eu-west-1"),
        ("environment", "other"),
        ("account", "123456789012"),
        ("stack", "region"),
        ("revision", "0" * 12),
    ],
)
async def test_a_seal_that_names_another_unit_account_or_revision_is_refused(
    project: Any, folder: PlanFolder, field: str, value: str
) -> None:
    planned = await project.plan([REGION], folder=folder)
    seal = planned[0].plan.saved.seal_path
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {field: value}))
    with pytest.raises(ConflictError, match="cannot be applied"):
        await project.deployment.load_saved([wanted(project)], folder)


@pytest.mark.parametrize("what", ["state", "code", "terraform", "config", "plan", "variables"])
async def test_a_plan_is_refused_if_its_state_code_configuration_or_files_have_changed(
    project: Any, folder: PlanFolder, what: str
) -> None:
    await project.deploy(regions=[REGION])
    project.write("two")
    planned = await project.plan([REGION], folder=folder)
    saved, stack = planned[0].plan.saved, project.planner.stack(REGION)
    if what == "state":
        state = json.loads(stack.state_file.read_text())
        stack.state_file.write_text(json.dumps({**state, "serial": state["serial"] + 1}))
    elif what == "code":
        project.write("three")
    elif what == "terraform":
        (stack.source_dir / "more.tf").write_text("locals { more = 1 }\n")
    elif what == "config":
        from mjctl.models.environment import Game

        project.environment = project.environment.model_copy(update={"game": Game(tick_rate_hz=30)})
    elif what == "plan":
        saved.path.write_bytes(saved.path.read_bytes() + b"x")
    else:
        path = folder.path / f"test.{REGION}.local.tfvars.json"
        path.write_text(path.read_text().replace('"servers_per_zone": 1', '"servers_per_zone": 2'))
    serial = stack.position().serial
    with pytest.raises(ConflictError, match="cannot be applied"):
        await project.deployment.load_saved([wanted(project)], folder)
    assert stack.position().serial == serial
    assert project.word(REGION) == "one"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("")
    with pytest.raises(PermissionDeniedError, match="this path is not a folder"):
        PlanFolder(tmp_path / "plans").prepare()
