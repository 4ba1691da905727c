"""Helpers of the commands that run Terraform: live progress, the question before a change, and the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mjctl.cli.session import Exit, OutputFormat, Session, open_environment, open_session
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.output.run_view import View
    from mjctl.deploy.operation import Approve
    from mjctl.deploy.releases.store import ReleaseStore
    from mjctl.deploy.session import DeploySession
    from mjctl.models.deployment import RunResult, UnitResult
    from mjctl.models.environment import Environment
    from mjctl.models.workspace import Workspace
    from mjctl.terraform.runner import Cancellation


@dataclass
class Run:
    """Describes one run of a command that uses Terraform.

    Attributes:
        command: Name of the command, such as `deploy`.
        session: The streams of this process.
        workspace: The project's folders.
        environment: The environment that --env names.
        message: Reason for the run, or None.
        lock_timeout: Seconds to wait for a unit that another run has locked.
        allow_data_loss: Apply plans that violate the data-loss policy.
        brief: Show the names of changed resources without values.
    """

    command: str
    session: Session
    workspace: Workspace
    environment: Environment
    message: str | None = None
    lock_timeout: float = 0.0
    allow_data_loss: bool = False
    brief: bool = False

    @cached_property
    def deploys(self) -> DeploySession:
        """Return the deploy session of this run.

        The session reports its progress on stderr, and Ctrl-C stops the session.
        """
        from mjctl.deploy.session import DeploySession

        return DeploySession(
            self.workspace,
            self.environment,
            message=self.message,
            lock_timeout_seconds=self.lock_timeout,
            allow_data_loss=self.allow_data_loss,
            say=self._say,
            reporting=self._reporting,
        )

    @property
    def store(self) -> ReleaseStore:
        """Return the store of the environment's releases."""
        return self.deploys.store

    def approval(self, question: str, auto_approve: bool) -> Approve:
        """Return a callback that shows the changes and asks for approval.

        Args:
            question: The question to the operator. The names of the units are appended to the question.
            auto_approve: Approve the changes without showing them and without a question (--auto-approve).
        """

        def approve(results: Sequence[UnitResult]) -> bool:
            self.confirm(results, f"{question}: {', '.join(result.unit for result in results)}?", auto_approve)
            return True

        return approve

    def confirm(self, results: Sequence[UnitResult], question: str, auto_approve: bool) -> None:
        """Show the changes and ask for approval, unless the command line has approved them (--yes).

        Raises:
            RefusedError: The operator did not approve, or no terminal is connected.
        """
        from mjctl.cli.output.plan_view import PlanView

        if auto_approve:
            return
        self.session.err.print(PlanView(results, brief=self.brief))
        for result in results:
            if result.waits_for:
                waiting = f"{result.unit}: changes are known once {' and '.join(result.waits_for)} is applied"
                self.session.say(f"{waiting}. Your answer approves the changes of {result.unit} too.")
        self.session.confirm(question, yes=False)

    def _say(self, line: str) -> None:
        self.session.say(line)

    @contextmanager
    def _reporting(self, cancellation: Cancellation) -> Iterator[View]:
        """Show live progress while Terraform runs. The first Ctrl-C or SIGTERM requests a clean stop."""
        from mjctl.cli.output.run_view import view_for

        with view_for(self.session.err) as view:
            _stop_on_signals(cancellation, view)
            yield view


def open_run(
    command: str,
    env: str,
    output: OutputFormat,
    *,
    message: str | None = None,
    lock_timeout: float = 0.0,
    allow_data_loss: bool = False,
    brief: bool = False,
) -> Run:
    """Read the environment `env` and prepare a run of `command`. Nothing is locked or changed.

    Raises:
        NotFoundError: the current folder is in no project, or the project has no environment with this name.
        ConfigError: the environment's file is invalid.
    """
    workspace, environment = open_environment(env)
    return Run(
        command,
        open_session(output),
        workspace,
        environment,
        message=message,
        lock_timeout=lock_timeout,
        allow_data_loss=allow_data_loss,
        brief=brief,
    )


def emit_results(run: Run, result: RunResult) -> ExitCode:
    """Print the errors on stderr and the result of each unit on stdout.

    Returns:
        The exit code of the run, which the caller passes to `end`.
    """
    from mjctl.cli.output.documents.run import unit_entries
    from mjctl.cli.output.plan_view import PlanView
    from mjctl.cli.output.run_view import print_error, results_view, trust_advice
    from mjctl.models.deployment import note_lines

    results, code = result.results, result.exit_code
    for unit in results:
        if unit.error:
            print_error(unit.error, as_json=False)
    contracts = {} if result.only_planned else run.deploys.contracts(result)
    addresses = {region: contract.endpoints for region, contract in contracts.items()}
    if result.only_planned:
        if any(unit.changes for unit in results) and run.session.output is OutputFormat.TEXT:
            run.session.out.print(PlanView(results, brief=run.brief))
        run.session.say(*note_lines(results))
        run.session.say(*(f"warning: {unit.unit}: {broken}" for unit in results for broken in unit.violations))
    run.session.emit(results_view(results, contracts), regions=unit_entries(results, addresses), exit_code=int(code))
    if run.session.output is OutputFormat.TEXT:
        for line in trust_advice(contracts):
            # Do not wrap the advice, so that an operator can copy its command in one piece.
            run.session.out.print(line, soft_wrap=True, markup=False, highlight=False)
    return code


def end(code: ExitCode) -> None:
    """End the command with `code`.

    Raises:
        Exit: the code is not 0.
    """
    if code is not ExitCode.OK:
        raise Exit(code)


def _stop_on_signals(cancellation: Cancellation, view: View) -> None:
    import asyncio
    import signal

    def stop() -> None:
        if cancellation.requested:
            view.message("still stopping: Terraform saves its state and releases its lock")
        else:
            view.message("stopping: Terraform finishes its current step, then saves its state")
            cancellation.event.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
