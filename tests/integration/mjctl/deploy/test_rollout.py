from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from mjctl.deploy.executor import Deployment
from mjctl.deploy.releases.store import ReleaseVerdict
from mjctl.deploy.rollout import RolloutPlan, Strategy, restore
from mjctl.models.deployment import AttributeChange, UnitOutcome, Violation, exit_code
from mjctl.models.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    TerraformError,
    VerificationError,
)
from mjctl.models.exit_codes import ExitCode
from mjctl.terraform import operations
from mjctl.terraform.engine import find_engine
from mjctl.terraform.runner import Cancellation, Runner

CANARY = RolloutPlan(Strategy.CANARY, rollback=True)


def outcomes(results: dict[str, Any]) -> list[str]:
    return [str(result.outcome) for result in results.values()]


async def test_an_unhealthy_canary_is_rolled_back_and_no_other_region_is_changed(project: Any) -> None:
    good = project.write("one")
    assert exit_code(list((await project.deploy()).values())) is ExitCode.OK
    bad = project.write("two")
    project.sick.add("two")
    untouched = {region: project.planner.stack(region).position().serial for region in ("eu-west-1", "ap-northeast-1")}

    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["rolled_back", "not_started", "not_started"]
    assert exit_code(list(results.values())) is ExitCode.UNHEALTHY
    assert (results["us-east-1"].revision, results["us-east-1"].refused) == (good, bad)
    assert results["us-east-1"].verdict.failing == ("login: runs two",)
    assert project.word("us-east-1") == "one"
    assert {region: project.planner.stack(region).position().serial for region in untouched} == untouched
    assert project.observations == ["us-east-1"] * 3, "two bad observations, and one after the rollback"
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
    assert project.releases("eu-west-1").interrupted_revision() is None
    again = await project.plan(["eu-west-1"])
    assert again[0].result.changes, "the working tree still has the bad code"


async def test_without_rollback_an_unhealthy_region_keeps_its_revision_which_is_marked_unhealthy(project: Any) -> None:
    await project.deploy()
    bad = project.write("two")
    project.sick.add("two")
    results = await project.deploy(RolloutPlan(Strategy.SEQUENTIAL), gated=True)
    assert outcomes(results) == ["unhealthy", "not_started", "not_started"]
    assert project.word("us-east-1") == "two"
    current = project.releases("us-east-1").current()
    assert (current.revision, current.verdict) == (bad, ReleaseVerdict.UNHEALTHY)

    # A second deploy of the same code has no changes in the first region, but the gate must reject the first region
    # again.
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["rolled_back", "not_started", "not_started"]
    assert project.word("us-east-1") == "one"


async def test_all_other_regions_follow_a_healthy_canary(project: Any) -> None:
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["applied"] * 3
    assert project.observations[0] == "us-east-1"
    assert sorted(project.observations[1:]) == ["ap-northeast-1", "eu-west-1"]
    assert project.releases("eu-west-1").current().verdict is ReleaseVerdict.HEALTHY


async def test_a_bad_first_revision_cannot_be_rolled_back(project: Any) -> None:
    project.write("one", broken=True)
    results = await project.deploy(CANARY, regions=["us-east-1"])
    assert outcomes(results) == ["failed"]
    assert "the region cannot be rolled back" in str(results["us-east-1"].error)


async def test_a_rollback_that_does_not_make_the_region_healthy_is_reported(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    project.write("two")
    project.sick.update({"one", "two"})
    results = await project.deploy(CANARY, regions=["us-east-1"], gated=True)
    assert outcomes(results) == ["unhealthy"]
    assert "did not help" in results["us-east-1"].error.what
    assert project.word("us-east-1") == "one"


async def test_a_deployed_region_does_not_depend_on_the_working_tree(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    (project.workspace.project_dir / "terraform" / "stacks" / "local" / "main.tf").write_text("broken {")
    shutil.rmtree(project.workspace.project_dir / "gameserver")
    drifted = await project.deployment.plan([project.planner.for_last_apply("us-east-1")])
    assert str(drifted[0].result.outcome) == "unchanged"


async def test_code_that_changes_during_a_deploy_is_refused(project: Any) -> None:
    release = project.store.of_working_tree()
    project.write("changed meanwhile")
    with pytest.raises(ConflictError, match="was changed during the deploy"):
        project.store.keep(release)
    assert not project.store.game_dir(release).exists()


async def test_code_that_no_region_lists_is_removed(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.deploy.releases.store._PLANNING_SECONDS", -1.0)
    first = project.store.of_working_tree()
    await project.deploy(regions=["us-east-1"])
    for number in range(7):
        project.write(f"word {number}")
        await project.deploy(regions=["us-east-1"])
    entries = project.releases("us-east-1").entries()
    assert len(entries) == 6
    assert not project.store.game_dir(first).exists()
    assert all(project.store.game_dir(entry.release).is_dir() for entry in entries)
    with pytest.raises(NotFoundError, match="0 kept revisions start with"):
        project.releases("us-east-1").named(first.revision)


async def test_a_region_is_scaled_without_new_code_and_keeps_its_number_of_servers(project: Any) -> None:
    from mjctl.deploy.planner import inputs

    await project.deploy(regions=["us-east-1"])
    project.write("two")
    planned = await project.deployment.plan([project.planner.for_scale("us-east-1", 3)])
    assert [change.address for change in planned[0].result.changes] == ["terraform_data.size"]
    await project.deployment.apply(planned)
    inputs.set_servers_per_zone(project.planner.stack("us-east-1"), 3)
    wanted = project.planner.for_release("us-east-1", project.store.of_working_tree())
    assert wanted.variables["game"]["servers_per_zone"] == 3
    assert project.word("us-east-1") == "one"


async def test_a_plan_that_loses_data_is_applied_only_with_allow_data_loss(project: Any) -> None:
    lost = (Violation("keeps-data", "aws_rds_cluster.this", "delete: the rows of the database would be lost"),)
    for allowed in (False, True):
        (planned,) = await project.plan(["us-east-1"])
        planned = replace(planned, result=replace(planned.result, violations=lost))
        deployment = Deployment(
            project.store,
            Runner(find_engine(), Cancellation()),
            project.reporter,
            concurrency=1,
            allow_data_loss=allowed,
        )
        (result,) = await deployment.apply([planned])
        assert result.outcome is (UnitOutcome.APPLIED if allowed else UnitOutcome.FAILED)
        assert isinstance(result.error, RefusedError) is not allowed
        assert project.planner.stack("us-east-1").exists() is allowed


async def test_the_list_of_releases_and_the_kept_code_are_private(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    path = project.workspace.region_dir("test", "us-east-1") / "releases.json"
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())[0]["standing"] == "applied"
    for folder in ("", "game", "code"):
        assert (project.workspace.environment_dir("test") / "releases" / folder).stat().st_mode & 0o077 == 0


@pytest.fixture
def plan_fails_for(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set of game digests whose plans fail, as if AWS throttled mjctl or the session of AWS had expired."""
    refused: set[str] = set()
    plan = operations.plan

    async def throttled(runner: Any, stack: Any, variables: Any, *arguments: Any, **options: Any) -> Any:
        if variables["revision"] in refused:
            raise TerraformError("terraform plan failed: throttled", where=stack.where)
        return await plan(runner, stack, variables, *arguments, **options)

    monkeypatch.setattr(operations, "plan", throttled)
    return refused


async def test_a_rollback_whose_plan_fails_is_not_recorded_as_applied(project: Any, plan_fails_for: set[str]) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])
    plan_fails_for.add(project.store.of_working_tree().game)
    bad = project.write("two")
    project.sick.add("two")

    results = await project.deploy(CANARY, regions=["us-east-1"], gated=True)
    assert outcomes(results) == ["unhealthy"]
    assert "the rollback did not help: terraform plan failed: throttled" in results["us-east-1"].error.what
    releases = project.releases("us-east-1")
    assert (releases.current().revision, releases.current().verdict) == (bad, ReleaseVerdict.UNHEALTHY)
    assert project.word("us-east-1") == "two", "the recorded revision is the running revision"
    entry = releases.last_good(other_than=bad)
    assert entry.revision == good

    # If a rollback by an operator cannot be planned, the rollback fails and does not change the records.
    (again,) = await restore(project.deployment, [project.planner.for_rollback("us-east-1", entry)])
    assert (again.outcome, exit_code([again])) == (UnitOutcome.FAILED, ExitCode.FAILED)
    assert releases.current().revision == bad

    plan_fails_for.clear()
    (back,) = await restore(project.deployment, [project.planner.for_rollback("us-east-1", entry)])
    assert (back.outcome, releases.current().revision, project.word("us-east-1")) == (UnitOutcome.APPLIED, good, "one")


async def test_a_failed_apply_stays_recorded_if_its_rollback_cannot_be_planned(
    project: Any, plan_fails_for: set[str]
) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])
    plan_fails_for.add(project.store.of_working_tree().game)
    bad = project.write("two", broken=True)
    results = await project.deploy(CANARY, regions=["us-east-1"])
    assert outcomes(results) == ["failed"]
    assert project.releases("us-east-1").interrupted_revision() == bad
    assert project.releases("us-east-1").current().revision == good


@pytest.mark.parametrize("where", ["plan", "apply"])
async def test_a_bug_of_mjctl_in_the_work_on_one_region_does_not_interrupt_other_regions(
    project: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    work = getattr(operations, where)

    async def faulty(runner: Any, stack: Any, *arguments: Any, **options: Any) -> Any:
        if stack.unit == "eu-west-1":
            raise KeyError("an unexpected missing key")
        return await work(runner, stack, *arguments, **options)

    monkeypatch.setattr(operations, where, faulty)
    results = await project.deploy()
    assert outcomes(results) == ["applied", "failed", "applied"]
    assert exit_code(list(results.values())) is ExitCode.PARTIAL
    error = results["eu-west-1"].error
    assert (error.exit_code, error.what) == (ExitCode.INTERNAL, "mjctl itself has failed: KeyError")
    log = project.planner.stack("eu-west-1").log_file
    assert str(log) in error.hint
    assert "an unexpected missing key" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert not list(project.workspace.home.rglob("*.tfplan"))


async def test_an_exception_in_the_gate_of_one_region_does_not_interrupt_other_regions(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = type(project)._observe

    async def faulty(self: Any, region: str) -> Any:
        if region == "eu-west-1":
            raise OSError("too many open files")
        return await observe(self, region)

    monkeypatch.setattr(type(project), "_observe", faulty)
    results = await project.deploy(RolloutPlan(rollback=True), gated=True)
    assert outcomes(results) == ["applied", "failed", "applied"]
    assert results["us-east-1"].verdict.healthy
    assert "OSError" in results["eu-west-1"].error.what


async def test_old_code_that_cannot_be_removed_does_not_hide_the_results(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise PermissionDeniedError("AWS refuses: AccessDenied")

    monkeypatch.setattr("mjctl.deploy.releases.store.ReleaseStore.prune", refuse)
    assert outcomes(await project.deploy()) == ["applied"] * 3
    assert any("not removed: AWS refuses" in note for note in project.reporter.notes)


async def test_a_rollout_that_ecs_has_rolled_back_is_reported_as_failed(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])

    def rolled_back(_: Any) -> None:
        raise VerificationError("the game servers run game:1, not game:2")

    monkeypatch.setattr("mjctl.deploy.executor.verify_ecs_rollout", rolled_back)
    bad = project.write("two")
    results = await project.deploy(regions=["us-east-1"])
    assert outcomes(results) == ["failed"]
    assert "game:1, not game:2" in results["us-east-1"].error.what
    assert results["us-east-1"].refused == bad
    assert project.releases("us-east-1").current().revision == good
    assert project.releases("us-east-1").interrupted_revision() == bad


async def test_a_rollback_skips_a_revision_that_the_gate_found_unhealthy(project: Any) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])
    project.write("two")
    project.sick.add("two")
    await project.deploy(regions=["us-east-1"], gated=True)
    newest = project.write("three")
    await project.deploy(regions=["us-east-1"])
    assert project.releases("us-east-1").last_good(other_than=newest).revision == good


async def test_a_resource_that_terraform_forgets_is_counted_and_not_destroyed(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    source = project.workspace.project_dir / "terraform" / "stacks" / "local" / "main.tf"
    kept = source.read_text().replace(
        'resource "terraform_data" "size" {\n  input = var.game.servers_per_zone\n}\n', ""
    )
    removed = "removed {\n  from = terraform_data.size\n  lifecycle {\n    destroy = false\n  }\n}\n"
    source.write_text(kept + removed)
    (planned,) = await project.plan(["us-east-1"])
    assert [(change.address, change.action) for change in planned.result.changes] == [("terraform_data.size", "forget")]
    assert planned.result.forget == 1
    assert planned.result.remove == 0
    (result,) = await project.deployment.apply([planned])
    assert result.outcome is UnitOutcome.APPLIED


async def test_a_plan_contains_the_old_and_the_new_value_of_each_change(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    before = project.store.of_working_tree().game
    project.write("two")
    (planned,) = await project.plan(["us-east-1"])
    (change,) = planned.result.changes
    assert (change.action, change.resource_type) == ("replace", "terraform_data")
    assert change.forced_by == ("triggers_replace",)
    after = project.store.of_working_tree().game
    assert AttributeChange("triggers_replace[0]", before, after) in change.attributes
