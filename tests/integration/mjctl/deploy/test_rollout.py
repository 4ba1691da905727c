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
    return [str(one.outcome) for one in results.values()]


async def test_a_canary_that_turns_unhealthy_is_rolled_back_and_the_others_are_not_touched(project: Any) -> None:
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
    assert project.releases("eu-west-1").interrupted_revision() is None
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
    assert (current.revision, current.verdict) == (bad, ReleaseVerdict.UNHEALTHY)

    # The same code again: nothing to change in the first region, and still it must not pass.
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["rolled_back", "not_started", "not_started"]
    assert project.word("us-east-1") == "one"


async def test_a_healthy_canary_is_followed_by_all_the_others(project: Any) -> None:
    results = await project.deploy(CANARY, gated=True)
    assert outcomes(results) == ["applied"] * 3
    assert project.looks[0] == "us-east-1"
    assert sorted(project.looks[1:]) == ["ap-northeast-1", "eu-west-1"]
    assert project.releases("eu-west-1").current().verdict is ReleaseVerdict.HEALTHY


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
    drifted = await project.deployment.plan([project.planner.for_last_apply("us-east-1")])
    assert str(drifted[0].result.outcome) == "unchanged"


async def test_code_that_changes_while_it_is_kept_is_refused(project: Any) -> None:
    release = project.store.of_working_tree()
    project.write("changed meanwhile")
    with pytest.raises(ConflictError, match="changed while"):
        project.store.keep(release)
    assert not project.store.game_dir(release).exists()


async def test_code_that_no_region_has_is_removed_in_the_end(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.deploy.releases.store._PLANNING_SECONDS", -1.0)
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
    from mjctl.deploy.planner import inputs

    await project.deploy(regions=["us-east-1"])
    project.write("two")
    planned = await project.deployment.plan([project.planner.for_scale("us-east-1", 3)])
    assert [one.address for one in planned[0].result.changes] == ["terraform_data.size"]
    await project.deployment.apply(planned)
    inputs.set_servers_per_zone(project.planner.stack("us-east-1"), 3)
    wanted = project.planner.for_release("us-east-1", project.store.of_working_tree())
    assert wanted.variables["game"]["servers_per_zone"] == 3
    assert project.word("us-east-1") == "one"


async def test_a_plan_that_loses_data_is_applied_only_when_that_is_allowed(project: Any) -> None:
    lost = (Violation("keeps-data", "aws_rds_cluster.this", "delete: its rows would be lost"),)
    for allowed in (False, True):
        (planned,) = await project.plan(["us-east-1"])
        planned = replace(planned, result=replace(planned.result, violations=lost))
        deployment = Deployment(
            project.store,
            Runner(find_engine(), Cancellation()),
            project.said,
            concurrency=1,
            allow_data_loss=allowed,
        )
        (result,) = await deployment.apply([planned])
        assert result.outcome is (UnitOutcome.APPLIED if allowed else UnitOutcome.FAILED)
        assert isinstance(result.error, RefusedError) is not allowed
        assert project.planner.stack("us-east-1").exists() is allowed


async def test_history_of_releases_is_private(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    path = project.workspace.region_dir("test", "us-east-1") / "releases.json"
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())[0]["standing"] == "applied"
    for folder in ("", "game", "code"):
        assert (project.workspace.environment_dir("test") / "releases" / folder).stat().st_mode & 0o077 == 0


@pytest.fixture
def plan_fails_for(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Game digests that no plan can be made of any more, as when AWS throttles or the session has expired."""
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
    assert project.word("us-east-1") == "two", "what is recorded is what runs"
    entry = releases.last_good(other_than=bad)
    assert entry.revision == good

    # The same when a person asks for it: the run fails, and the records stay.
    (again,) = await restore(project.deployment, [project.planner.for_rollback("us-east-1", entry)])
    assert (again.outcome, exit_code([again])) == (UnitOutcome.FAILED, ExitCode.FAILED)
    assert releases.current().revision == bad

    plan_fails_for.clear()
    (back,) = await restore(project.deployment, [project.planner.for_rollback("us-east-1", entry)])
    assert (back.outcome, releases.current().revision, project.word("us-east-1")) == (UnitOutcome.APPLIED, good, "one")


async def test_an_apply_cut_short_stays_noted_when_its_rollback_cannot_be_planned(
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
async def test_a_fault_of_our_own_in_one_region_does_not_interrupt_the_others(
    project: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    work = getattr(operations, where)

    async def faulty(runner: Any, stack: Any, *arguments: Any, **options: Any) -> Any:
        if stack.unit == "eu-west-1":
            raise KeyError("a key that nobody expected to be missing")
        return await work(runner, stack, *arguments, **options)

    monkeypatch.setattr(operations, where, faulty)
    results = await project.deploy()
    assert outcomes(results) == ["applied", "failed", "applied"]
    assert exit_code(list(results.values())) is ExitCode.PARTIAL
    error = results["eu-west-1"].error
    assert (error.exit_code, error.what) == (ExitCode.INTERNAL, "mjctl itself has failed: KeyError")
    log = project.planner.stack("eu-west-1").log_file
    assert str(log) in error.hint
    assert "a key that nobody expected" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert not list(project.workspace.home.rglob("*.tfplan"))


async def test_a_fault_in_the_gate_of_one_region_does_not_interrupt_the_others(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = type(project)._look

    async def faulty(self: Any, region: str) -> Any:
        if region == "eu-west-1":
            raise OSError("too many open files")
        return await look(self, region)

    monkeypatch.setattr(type(project), "_look", faulty)
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
    assert any("not removed: AWS refuses" in note for note in project.said.notes)


async def test_a_rollout_that_ecs_took_back_is_no_success(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])

    def taken_back(_: Any) -> None:
        raise VerificationError("the game servers run game:1, not game:2")

    monkeypatch.setattr("mjctl.deploy.executor.verify_ecs_rollout", taken_back)
    bad = project.write("two")
    results = await project.deploy(regions=["us-east-1"])
    assert outcomes(results) == ["failed"]
    assert "game:1, not game:2" in results["us-east-1"].error.what
    assert results["us-east-1"].refused == bad
    assert project.releases("us-east-1").current().revision == good
    assert project.releases("us-east-1").interrupted_revision() == bad


async def test_a_rollback_passes_over_a_revision_that_the_gate_refused(project: Any) -> None:
    good = project.write("one")
    await project.deploy(regions=["us-east-1"])
    project.write("two")
    project.sick.add("two")
    await project.deploy(regions=["us-east-1"], gated=True)
    newest = project.write("three")
    await project.deploy(regions=["us-east-1"])
    assert project.releases("us-east-1").last_good(other_than=newest).revision == good


async def test_a_resource_that_is_forgotten_is_counted_and_stays(project: Any) -> None:
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


async def test_a_plan_has_the_values_that_change(project: Any) -> None:
    await project.deploy(regions=["us-east-1"])
    before = project.store.of_working_tree().game
    project.write("two")
    (planned,) = await project.plan(["us-east-1"])
    (change,) = planned.result.changes
    assert (change.action, change.resource_type) == ("replace", "terraform_data")
    assert change.forced_by == ("triggers_replace",)
    after = project.store.of_working_tree().game
    assert AttributeChange("triggers_replace[0]", before, after) in change.attributes
