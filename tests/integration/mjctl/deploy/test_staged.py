"""Tests with real Terraform that a unit is planned after foundation if foundation's outputs get a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mjctl.deploy import staged
from mjctl.deploy.executor import PlannedUnit, discard
from mjctl.deploy.releases.saved_plans import PlanFolder
from mjctl.models.deployment import UnitOutcome
from mjctl.models.errors import ConflictError

# The tiny stack of the fixture `project` has regions only, so one of them is foundation in these tests.
FOUNDATION, REGION = "us-east-1", "eu-west-1"


@pytest.fixture
async def deployed(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(staged, "FOUNDATION", FOUNDATION)
    await project.deploy(regions=[FOUNDATION, REGION])
    return project


def change(project: Any, old: str, new: str) -> None:
    code = project.workspace.project_dir / "terraform" / "stacks" / "local" / "main.tf"
    text = code.read_text()
    assert text.count(old) == 1
    code.write_text(text.replace(old, new))


async def plan(project: Any, folder: PlanFolder | None = None) -> list[PlannedUnit]:
    release = project.store.of_working_tree()
    project.store.keep(release)
    units = [FOUNDATION, REGION]
    return await staged.plan_known(project.deployment, project.planner, units, release, folder=folder)


async def test_a_unit_waits_if_foundation_gets_an_output_that_the_unit_may_need(deployed: Any) -> None:
    change(deployed, "endpoints = {", "added = { key = terraform_data.size.id }\n    endpoints = {")
    planned = await plan(deployed)
    discard(planned)
    assert [item.result.outcome for item in planned] == [UnitOutcome.PLANNED, UnitOutcome.WAITING]
    assert planned[1].result.waits_for == (FOUNDATION,)
    assert deployed.reporter.notes[-1] == f"{REGION}: mjctl plans this unit after it has applied {FOUNDATION}"


async def test_no_unit_waits_for_a_change_that_keeps_the_form_of_the_outputs(deployed: Any) -> None:
    change(deployed, "http://127.0.0.1:1", "http://127.0.0.1:2")
    planned = await plan(deployed)
    discard(planned)
    assert [item.result.outcome for item in planned] == [UnitOutcome.PLANNED] * 2


async def test_no_plan_is_saved_if_a_unit_must_wait(deployed: Any, tmp_path: Path) -> None:
    change(deployed, "endpoints = {", "added = true\n    endpoints = {")
    folder = PlanFolder(tmp_path / "plans")
    folder.prepare()
    with pytest.raises(ConflictError, match=f"cannot plan {REGION} yet"):
        await plan(deployed, folder)
    assert not list(folder.path.rglob("*.tfplan"))
