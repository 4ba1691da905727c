"""A program deploys without a console: a callback approves, and the program's signal handlers are not replaced."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from mjctl.deploy.executor import Deployment, NoReporter
from mjctl.deploy.history import History
from mjctl.deploy.planner import inputs
from mjctl.deploy.rollout import RolloutPlan, Strategy
from mjctl.deploy.session import DeploySession
from mjctl.models.deployment import Phase, UnitOutcome, UnitResult
from mjctl.models.errors import LockedError, NotFoundError, RefusedError, TerraformError
from mjctl.models.exit_codes import ExitCode
from mjctl.terraform.runner import Cancellation

REGION, OTHER = "us-east-1", "eu-west-1"


@pytest.fixture
def session(project: Any) -> DeploySession:
    return DeploySession(project.workspace, project.environment, message="a test")


def yes(_: Sequence[UnitResult]) -> bool:
    return True


def never(_: Sequence[UnitResult]) -> bool:
    raise AssertionError("there is nothing to approve")


def test_a_deploy_is_approved_applied_and_recorded_in_the_history(project: Any, session: DeploySession) -> None:
    approved: list[UnitResult] = []

    def approve(planned: Sequence[UnitResult]) -> bool:
        approved.extend(planned)
        return True

    result = session.deploy([REGION], approve=approve)
    assert result.exit_code is ExitCode.OK
    assert [unit.outcome for unit in result.results] == [UnitOutcome.APPLIED]
    assert [(unit.unit, unit.outcome, unit.add > 0) for unit in approved] == [(REGION, UnitOutcome.PLANNED, True)]
    assert project.word(REGION) == "one"
    assert list(session.contracts(result)) == [REGION]
    (record,) = History(project.workspace, project.environment).records()
    assert (record.command, record.names, record.message, record.exit_code) == ("deploy", (REGION,), "a test", 0)

    again = session.deploy([REGION], approve=never)
    assert [unit.outcome for unit in again.results] == [UnitOutcome.UNCHANGED]


def test_a_plan_without_approval_is_not_applied(project: Any, session: DeploySession) -> None:
    with pytest.raises(RefusedError):
        session.deploy([REGION], approve=lambda _: False)
    stack = project.planner.stack(REGION)
    assert not stack.exists()
    assert not list(stack.terraform_dir.glob("*.tfplan")), "a plan file contains variables in clear text"
    assert not History(project.workspace, project.environment).records()
    with pytest.raises(NotFoundError):
        session.deploy(["mars-north-1"], approve=yes)


def test_a_session_plans_deploys_rolls_back_scales_and_destroys(project: Any, session: DeploySession) -> None:
    planned = session.plan([REGION])
    assert planned.exit_code is ExitCode.CHANGES_PENDING
    first = session.deploy([REGION], approve=yes)
    assert session.drift([REGION]).exit_code is ExitCode.OK
    project.write("two")
    assert session.deploy([REGION], approve=yes).exit_code is ExitCode.OK
    assert project.word(REGION) == "two"

    back = session.rollback([REGION], approve=yes)
    assert [unit.outcome for unit in back.results] == [UnitOutcome.ROLLED_BACK]
    assert first.release is not None
    assert back.results[0].revision == first.release.revision
    assert project.word(REGION) == "one"

    with pytest.raises(RefusedError):
        session.scale([REGION], 3, approve=lambda _: False)
    assert inputs.servers_per_zone(project.planner.stack(REGION)) is None, "a number that was not applied is not kept"
    scaled = session.scale([REGION, OTHER], 3, approve=yes, named=False)
    assert {unit.unit: unit.outcome for unit in scaled.results} == {
        REGION: UnitOutcome.APPLIED,
        OTHER: UnitOutcome.NOT_DEPLOYED,
    }
    assert inputs.servers_per_zone(project.planner.stack(REGION)) == 3

    destroyed = session.destroy([REGION], approve=lambda going: [unit.unit for unit in going] == [REGION])
    assert [unit.outcome for unit in destroyed.results] == [UnitOutcome.DESTROYED]
    commands = [record.command for record in History(project.workspace, project.environment).records()]
    assert commands == ["destroy", "servers scale", "rollback", "deploy", "deploy"]


def test_if_the_plan_of_a_unit_fails_no_other_unit_is_changed(
    project: Any, session: DeploySession, plan_fails_for: Callable[[str], None]
) -> None:
    plan_fails_for(OTHER)
    result = session.deploy([REGION, OTHER], approve=never)
    good, failed = result.results
    assert (good.outcome, failed.outcome) == (UnitOutcome.NOT_STARTED, UnitOutcome.FAILED)
    assert (good.add, good.revision) == (0, None), "no resource was added, and the region has not the new revision"
    assert result.exit_code is ExitCode.FAILED, "no region was deployed"
    assert not project.planner.stack(REGION).exists()


@pytest.fixture
def plan_fails_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    from mjctl.terraform import operations

    plan = operations.plan

    def fail(unit: str) -> None:
        async def refused(runner: Any, stack: Any, *arguments: Any, **options: Any) -> Any:
            if stack.unit == unit:
                raise TerraformError("terraform plan failed", where=stack.where)
            return await plan(runner, stack, *arguments, **options)

        monkeypatch.setattr(operations, "plan", refused)

    return fail


def test_another_run_finds_the_unit_locked_while_approval_is_pending(project: Any, session: DeploySession) -> None:
    other = DeploySession(project.workspace, project.environment)

    def approve(_: Sequence[UnitResult]) -> bool:
        with pytest.raises(LockedError, match="a test"):
            other.deploy([REGION], approve=yes)
        return True

    assert session.deploy([REGION], approve=approve).exit_code is ExitCode.OK


class StopAt(NoReporter):
    """Stops the session from another thread when the apply of a unit begins."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def phase(self, unit: str, phase: Phase) -> None:
        if phase is Phase.APPLY:
            thread = threading.Thread(target=self._stop)
            thread.start()
            thread.join()


def test_a_session_in_a_thread_is_stopped_and_leaves_signal_handlers_alone(project: Any) -> None:
    @contextmanager
    def reporting(_: Cancellation) -> Iterator[StopAt]:
        yield StopAt(session.stop)

    session = DeploySession(project.workspace, project.environment, reporting=reporting)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    collected: list[Any] = []

    def work() -> None:
        rollout = RolloutPlan(Strategy.SEQUENTIAL)
        collected.append(session.deploy([REGION, OTHER], approve=handlers_are_untouched, rollout=rollout))

    def handlers_are_untouched(_: Sequence[UnitResult]) -> bool:
        collected.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before)
        return True

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    untouched, result = collected
    assert untouched
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert [unit.outcome for unit in result.results] == [UnitOutcome.INTERRUPTED, UnitOutcome.NOT_STARTED]
    assert result.exit_code is ExitCode.INTERRUPTED
    later = session.plan([REGION])
    assert later.exit_code is ExitCode.INTERRUPTED, "a stopped session does no further work"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("x"), ExitCode.INTERNAL),
        (TerraformError("broken"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
    ids=["fault", "terraform", "ctrl-c"],
)
def test_the_history_records_the_exit_code_of_every_run(
    project: Any, session: DeploySession, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: ExitCode
) -> None:
    async def apply(*_: object) -> list[UnitResult]:
        raise error

    monkeypatch.setattr(Deployment, "apply", apply)
    with pytest.raises(type(error)):
        session.deploy([REGION], approve=yes)
    (record,) = History(project.workspace, project.environment).records()
    assert record.exit_code == code
    assert record.seconds is not None
