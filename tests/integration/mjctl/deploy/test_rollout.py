from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from mjctl.cli.deploy_run import exit_code
from mjctl.deploy.executor import Deployment
from mjctl.deploy.releases import Standing
from mjctl.deploy.rollout import RolloutPlan, Strategy
from mjctl.models.deployment import Outcome, Violation
from mjctl.models.errors import ConflictError, NotFoundError, RefusedError
from mjctl.models.exit_codes import ExitCode
from mjctl.terraform.engine import find_engine
from mjctl.terraform.runner import Cancellation, Runner

CANARY = RolloutPlan(Strategy.CANARY, rollback=True)


def outcomes(results: dict[str, Any]) -> list[str]:
    return [str(one.outcome) for one in results.values()]


async def test_a_canary_that_turns_unhealthy_is_rolled_back_and_the_others_are_not_touched(project: Any) -> None:
    good = project.write("one")
    assert exit_code(list((await project.deploy()).values())) is ExitCode.OK
    bad = project.write("two")
    project.sick.add("two")
    untouched = {region: project.intents.stack(region).position().serial for region in ("eu-west-1", "ap-northeast-1")}

    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["rolled_back", "not_started", "not_started"]
    assert exit_code(list(results.values())) is ExitCode.UNHEALTHY
    assert (results["us-east-1"].revision, results["us-east-1"].refused) == (good, bad)
    assert results["us-east-1"].verdict.failing == ("login: runs two",)
    assert project.word("us-east-1") == "one"
    assert {region: project.intents.stack(region).position().serial for region in untouched} == untouched
    assert project.looks == ["us-east-1"] * 3, "two bad looks, and one at the revision that is back"
    assert not list(project.workspace.home.rglob("*.tfplan"))


async def test_code_that_cannot_start_is_rolled_back_although_the_working_tree_is_bad(project: Any) -> None:
    good = project.write("one")
    await project.deploy()
    bad = project.write("two", broken=True)
    results = await project.deploy(RolloutPlan(Strategy.CANARY, "eu-west-1", rollback=True))
    assert outcomes(results) == ["not_started", "rolled_back", "not_started"]
    assert exit_code(list(results.values())) is ExitCode.FAILED
    assert (results["eu-west-1"].revision, results["eu-west-1"].refused) == (good, bad)
    assert project.word("eu-west-1") == "one"
    assert project.releases("eu-west-1").attempted() is None
    again = await project.plan(["eu-west-1"])
    assert again[0].result.changes, "the working tree is still another one"


async def test_without_rollback_the_region_stays_as_it_is_and_is_marked(project: Any) -> None:
    await project.deploy()
    bad = project.write("two")
    project.sick.add("two")
    results = await project.deploy(RolloutPlan(Strategy.SEQUENTIAL), gated=True)
    assert outcomes(results) == ["unhealthy", "not_started", "not_started"]
    assert project.word("us-east-1") == "two"
    current = project.releases("us-east-1").current()
    assert (current.revision, current.standing) == (bad, Standing.UNHEALTHY)

    # The same code again: nothing to change in the first region, and still it must not pass.
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["rolled_back", "not_started", "not_started"]
    assert project.word("us-east-1") == "one"


async def test_a_healthy_canary_is_followed_by_all_the_others(project: Any) -> None:
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["applied"] * 3
    assert project.looks[0] == "us-east-1"
    assert sorted(project.looks[1:]) == ["ap-northeast-1", "eu-west-1"]
    assert project.releases("eu-west-1").current().standing is Standing.HEALTHY


async def test_a_first_revision_that_is_bad_has_nothing_to_go_back_to(project: Any) -> None:
    project.write("one", broken=True)
    results = await project.deploy(CANARY, regions=["us-east-1"])
    assert outcomes(results) == ["failed"]
    assert "no earlier good revision" in str(results["us-east-1"].error)


async def test_a_rollback_that_does_not_help_says_so(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    project.write("two")
    project.sick.update({"one", "two"})
    results = await project.deploy(CANARY, regions=["us-east-1"], gated=True)
    assert outcomes(results) == ["unhealthy"]
    assert "did not help" in results["us-east-1"].error.what
    assert project.word("us-east-1") == "one"


async def test_what_runs_does_not_depend_on_the_working_tree(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    (project.workspace.project_dir / "terraform" / "stacks" / "local" / "main.tf").write_text("broken {")
    shutil.rmtree(project.workspace.project_dir / "gameserver")
    drifted = await project.deployment.plan([project.intents.applied("us-east-1")])
    assert str(drifted[0].result.outcome) == "unchanged"


async def test_code_that_changes_while_it_is_kept_is_refused(project: Any) -> None:
    release = project.store.of_working_tree()
    project.write("changed meanwhile")
    with pytest.raises(ConflictError, match="changed while"):
        project.store.keep(release)
    assert not project.store.game_dir(release).exists()


async def test_code_that_no_region_has_is_removed_in_the_end(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.deploy.releases._PLANNING_SECONDS", -1.0)
    first = project.store.of_working_tree()
    await project.deploy(regions=["us-east-1"])
    for number in range(7):
        project.write(f"word {number}")
        await project.deploy(regions=["us-east-1"])
    entries = project.releases("us-east-1").entries()
    assert len(entries) == 6
    assert not project.store.game_dir(first).exists()
    assert all(project.store.game_dir(one.release).is_dir() for one in entries)
    with pytest.raises(NotFoundError, match="no kept revision"):
        project.releases("us-east-1").named(first.revision)


async def test_a_region_can_be_scaled_without_new_code_and_stays_so(project: Any) -> None:
    from mjctl.deploy import inputs

    await project.deploy(regions=["us-east-1"])
    project.write("two")
    planned = await project.deployment.plan([project.intents.scaled("us-east-1", 3)])
    assert [one.address for one in planned[0].result.changes] == ["terraform_data.size"]
    await project.deployment.apply(planned)
    inputs.set_servers_per_zone(project.intents.stack("us-east-1"), 3)
    wanted = project.intents.wanted("us-east-1", project.store.of_working_tree())
    assert wanted.variables["game"]["servers_per_zone"] == 3
    assert project.word("us-east-1") == "one"


async def test_a_plan_that_loses_data_is_applied_only_when_that_is_allowed(project: Any) -> None:
    lost = (Violation("keeps-data", "aws_rds_cluster.this", "delete: its rows would be lost"),)
    for allowed in (False, True):
        (planned,) = await project.plan(["us-east-1"])
        planned = replace(planned, result=replace(planned.result, violations=lost))
        deployment = Deployment(
            project.workspace,
            project.environment,
            Runner(find_engine(), Cancellation()),
            project.said,
            allow_data_loss=allowed,
        )
        (result,) = await deployment.apply([planned])
        assert result.outcome is (Outcome.APPLIED if allowed else Outcome.FAILED)
        assert isinstance(result.error, RefusedError) is not allowed
        assert project.intents.stack("us-east-1").exists() is allowed


async def test_history_of_releases_is_private(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    path = project.workspace.region_dir("test", "us-east-1") / "releases.json"
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())[0]["standing"] == "applied"
    for folder in ("", "game", "code"):
        assert (project.workspace.environment_dir("test") / "releases" / folder).stat().st_mode & 0o077 == 0
