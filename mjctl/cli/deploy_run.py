"""What the commands that drive Terraform share: the regions they hold, a phase with live progress, how a run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from mjctl.cli.session import Exit, OutputFormat, Session, open_environment, open_session
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.output.run_view import View
    from mjctl.deploy.executor import Deployment, PlannedUnit
    from mjctl.deploy.gate import Gate
    from mjctl.deploy.planner.desired_state import LocalPlanner, Planner
    from mjctl.deploy.planner.production import ProductionPlanner
    from mjctl.deploy.releases.saved_plans import PlanFolder
    from mjctl.deploy.releases.store import ReleaseStore
    from mjctl.deploy.rollout import Rollout, RolloutPlan
    from mjctl.deploy.staged import StagedRollout
    from mjctl.models.contract import Contract
    from mjctl.models.deployment import UnitResult
    from mjctl.models.environment import Environment
    from mjctl.models.release import Release
    from mjctl.models.workspace import Workspace
    from mjctl.terraform.engine import Engine
    from mjctl.terraform.runner import Cancellation

_T = TypeVar("_T")


@dataclass
class Run:
    """One run of one command over regions of one environment."""

    command: str
    session: Session
    workspace: Workspace
    environment: Environment
    allow_data_loss: bool = False
    only_planned: bool = False
    brief: bool = False

    @cached_property
    def engine(self) -> Engine:
        from mjctl.terraform.engine import find_engine

        return find_engine()

    @cached_property
    def store(self) -> ReleaseStore:
        from mjctl.deploy.releases.store import ReleaseStore

        return ReleaseStore(self.workspace, self.environment)

    def check_machine(self, regions: Sequence[str]) -> None:
        """Stop before anything starts if this machine cannot run a local region.

        Raises:
            DependencyError: Something is missing; the message says what to install.
        """
        if self.environment.target == "local":
            from mjctl.local.layout import Layout
            from mjctl.local.unix_account import check_database_user

            folders = (self.workspace.region_dir(self.environment.name, region) for region in regions)
            check_database_user(Layout(folder) for folder in folders)

    @property
    def planner(self) -> Planner:
        return self.local if self.environment.target == "local" else self.production

    @cached_property
    def local(self) -> LocalPlanner:
        from mjctl.deploy.planner.desired_state import LocalPlanner

        return LocalPlanner(self.workspace, self.environment, self.store)

    @cached_property
    def production(self) -> ProductionPlanner:
        """Only for the targets `aws` and `sandbox`."""
        from mjctl.deploy.planner.production import ProductionPlanner

        return ProductionPlanner(self.workspace, self.environment, self.store, only_planned=self.only_planned)

    def held(
        self, units: Sequence[str], wait_seconds: float, message: str | None = None
    ) -> AbstractContextManager[None]:
        """Hold every unit, and say on stderr for whom this run waits."""
        from mjctl.deploy.executor import locked
        from mjctl.terraform.stack import Stack

        stacks = [Stack.of_unit(self.workspace, self.environment, unit) for unit in units]

        def say(text: str) -> None:
            self.session.say(text)

        return locked(stacks, self.command, message=message, wait_seconds=wait_seconds, on_wait=say)

    def phase(self, work: Callable[[Deployment], Coroutine[Any, Any, list[_T]]]) -> list[_T]:
        """One stretch of work with live progress, in which the first Ctrl-C or SIGTERM becomes a clean stop."""
        import asyncio

        from mjctl.cli.output.run_view import view_for
        from mjctl.deploy.executor import Deployment
        from mjctl.terraform.runner import Cancellation, Runner

        async def main(view: View) -> list[_T]:
            cancellation = Cancellation()
            _stop_on_signals(cancellation, view)
            runner = Runner(self.engine, cancellation)
            return await work(
                Deployment(self.workspace, self.environment, runner, view, allow_data_loss=self.allow_data_loss)
            )

        with view_for(self.session) as view:
            return asyncio.run(main(view))

    def staged(self, deployment: Deployment, waves: Rollout, release: Release, *, approved: bool) -> StagedRollout:
        """The rollout of a production environment, whose regions follow each other by `waves`."""
        from mjctl.deploy.staged import StagedRollout

        return StagedRollout(
            deployment,
            self.production,
            waves,
            release,
            environment=self.environment,
            approved=approved,
        )

    def confirm(self, planned: Sequence[PlannedUnit], question: str, auto_approve: bool) -> None:
        """Show the changes and ask, unless there is none or the answer was given.

        Raises:
            RefusedError: the answer was no, or there is nobody to ask.
        """
        from mjctl.cli.output.plan_view import PlanView

        results = [one.result for one in planned]
        if auto_approve or not any(result.changes or result.outcome == "waiting" for result in results):
            return
        self.session.err.print(PlanView(results, brief=self.brief))
        for result in results:
            if result.waits_for:
                said = f"{result.unit}: changes are known once {' and '.join(result.waits_for)} is applied"
                self.session.say(f"{said}; your answer holds for them too")
        self.session.confirm(question, yes=False)

    def recorded(
        self,
        regions: Sequence[str],
        work: Callable[[], list[UnitResult]],
        *,
        message: str | None = None,
        release: Release | None = None,
    ) -> list[UnitResult]:
        """Do what changes regions, and keep in the history who did it, and how it ended."""
        from mjctl.deploy.history import History
        from mjctl.models.errors import MjctlError

        history = History(self.workspace, self.environment)
        record = history.start(
            self.command,
            regions,
            message=message,
            revision=release.revision if release else None,
            commit=release.commit if release else None,
        )
        started = time.monotonic()
        try:
            results = work()
        except BaseException as error:
            with suppress(MjctlError):
                # What ended the work is the error to show, not that the history cannot be written as well.
                history.finish(record, [], _code_of(error), time.monotonic() - started)
            raise
        history.finish(record, results, exit_code(results), time.monotonic() - started)
        return results


def _code_of(error: BaseException) -> ExitCode:
    from mjctl.models.errors import MjctlError

    if isinstance(error, MjctlError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.INTERNAL


def open_run(command: str, env: str, output: OutputFormat) -> Run:
    workspace, environment = open_environment(env)
    return Run(command, open_session(output), workspace, environment)


def deployed_units(run: Run, units: Sequence[str], *, named: bool) -> tuple[tuple[str, ...], list[UnitResult]]:
    """Return the units that were ever wholly deployed, and a result for each other one.

    Units that the operator has `named` are all returned: that one of them is not deployed is then an error.

    Raises:
        NotFoundError: none of the units is deployed.
    """
    from mjctl.models.deployment import UnitOutcome, UnitResult
    from mjctl.models.errors import NotFoundError

    if named:
        return tuple(units), []
    there = tuple(unit for unit in units if run.planner.stack(unit).applied_variables() is not None)
    if not there:
        raise NotFoundError(
            f"not deployed: {', '.join(units)}",
            where=f"environment {run.environment.name}",
            hint=f"`mjctl deploy --env {run.environment.name} --region {units[0]}` brings up a region",
        )
    absent = []
    for unit in units:
        if unit not in there:
            half = run.planner.stack(unit).exists()
            notes = (f"half deployed: `mjctl deploy --env {run.environment.name} --region {unit}` finishes it",)
            absent.append(UnitResult(unit, UnitOutcome.NOT_DEPLOYED, notes=notes if half else ()))
    return there, absent


def exit_code(results: Sequence[UnitResult]) -> ExitCode:
    """0 when all went well; 130 when stopped; 3 when the health gate refused a region; 4 when some went well; the
    cause's own code when all failed alike."""
    if any(result.outcome == "interrupted" for result in results):
        return ExitCode.INTERRUPTED
    if any(result.verdict is not None and not result.verdict.healthy for result in results):
        return ExitCode.UNHEALTHY
    failed = [result for result in results if not result.ok and result.outcome not in ("not_started", "not_deployed")]
    if not failed:
        return ExitCode.OK
    if any(result.ok for result in results):
        return ExitCode.PARTIAL
    causes = {result.error.exit_code for result in failed if result.error}
    return causes.pop() if len(causes) == 1 else ExitCode.FAILED


def roll_out(
    run: Run,
    planned: list[PlannedUnit],
    rollout: RolloutPlan,
    gate: Gate | None,
    auto_approve: bool,
    message: str | None,
    release: Release | None,
    kept: PlanFolder | None = None,
) -> list[UnitResult]:
    """Ask, apply by waves, keep it in the history. Nothing is applied anywhere when one plan could not be made.

    Plans of a folder outlive a refusal; once the rollout has begun none is left, used or not.

    Raises:
        RefusedError: a plan would lose data, or was not confirmed.
    """
    from mjctl.deploy.executor import discard
    from mjctl.deploy.planner.policy import require
    from mjctl.deploy.rollout import Rollout

    results = [one.result for one in planned]
    regions = [one.unit for one in results]
    if not all(result.ok for result in results):
        discard(planned)
        return [_not_applied(result) for result in results]
    try:
        show_notes(run, results)
        if not run.allow_data_loss:
            require(results)
        run.confirm(planned, f"Apply these changes to {run.environment.name}: {', '.join(regions)}?", auto_approve)
    except BaseException:
        if kept is None:
            discard(planned)
        raise
    if release is not None:
        # The answer can have taken hours, in which another run may have tidied up.
        run.store.keep(release)
    # Nothing to change anywhere is nothing to watch.
    watch = gate if any(result.outcome in ("planned", "waiting") for result in results) else None

    async def work(deployment: Deployment) -> list[UnitResult]:
        waves = Rollout(deployment, run.planner, rollout, watch)
        if release is None or run.environment.target == "local":
            return await waves.run(planned)
        return await run.staged(deployment, waves, release, approved=kept is not None).run(planned)

    try:
        return run.recorded(regions, lambda: run.phase(work), message=message, release=release)
    finally:
        discard(planned)
        if kept is not None:
            for one in planned:
                kept.remove(one.stack)


def _not_applied(result: UnitResult) -> UnitResult:
    """A region with a good plan that is not applied, because another region has none."""
    from dataclasses import replace

    from mjctl.models.deployment import UnitOutcome

    if result.outcome not in (UnitOutcome.PLANNED, UnitOutcome.WAITING):
        return result
    return replace(result, outcome=UnitOutcome.NOT_STARTED, add=0, change=0, remove=0, revision=None, waits_for=())


def emit_results(run: Run, results: Sequence[UnitResult], *, pending: bool = False) -> ExitCode:
    """Print what went wrong on stderr and how each region ended on stdout; the exit code is the caller's to use.

    `pending`: changes that were not applied end with CHANGES_PENDING.
    """
    from mjctl.cli.output.documents import run_document
    from mjctl.cli.output.plan_view import PlanView
    from mjctl.cli.output.run_view import print_error, results_view, trust_advice

    for result in results:
        if result.error:
            print_error(result.error, as_json=False)
    code = exit_code(results)
    if pending and code is ExitCode.OK and any(result.outcome in ("planned", "waiting") for result in results):
        code = ExitCode.CHANGES_PENDING
    contracts = {} if pending else _contracts(run, results)
    addresses = {region: contract.endpoints for region, contract in contracts.items()}
    if pending and any(result.changes for result in results) and run.session.output is OutputFormat.TEXT:
        run.session.out.print(PlanView(results, brief=run.brief))
    if pending:
        show_notes(run, results)
    for result in results if pending else ():
        for broken in result.violations:
            run.session.say(f"warning: {result.unit}: {broken}")
    document = run_document(run.command, run.environment.name, code, results, addresses)
    run.session.emit(results_view(results, contracts), data=document.model_dump(mode="json"))
    if run.session.output is OutputFormat.TEXT:
        for line in trust_advice(contracts):
            # Not wrapped: it is there to be copied.
            run.session.out.print(line, soft_wrap=True, markup=False, highlight=False)
    return code


def show_notes(run: Run, results: Sequence[UnitResult]) -> None:
    """Print on stderr what was found in each region, and what its repair means."""
    for result in results:
        for note in result.notes:
            run.session.say(f"note: {result.unit}: {note}")


def end(code: ExitCode) -> None:
    if code is not ExitCode.OK:
        raise Exit(code)


def _contracts(run: Run, results: Sequence[UnitResult]) -> dict[str, Contract]:
    from mjctl.terraform.contracts import deployed_contracts
    from mjctl.terraform.stack import Stack

    up = [
        result.unit
        for result in results
        if result.outcome in ("applied", "unchanged", "rolled_back", "unhealthy")
        and result.unit in run.environment.regions
        and Stack.of_unit(run.workspace, run.environment, result.unit).exists()
    ]
    return deployed_contracts(run.workspace, run.environment, up) if up else {}


def _stop_on_signals(cancellation: Cancellation, view: View) -> None:
    import asyncio
    import signal

    def stop() -> None:
        if cancellation.requested:
            view.message("still stopping: Terraform saves its state and releases its lock")
        else:
            view.message("stopping: Terraform finishes what it is in the middle of, then saves its state")
            cancellation.event.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
