"""`mjctl plan | deploy | destroy | outputs | status | drift | unlock`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mjctl.cli.base import (
    AllRegionsOption,
    EnvOption,
    Exit,
    OutputFormat,
    OutputOption,
    RegionOption,
    Session,
    chosen_regions,
    open_environment,
    open_session,
)
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.render import View
    from mjctl.deploy.executor import Deployment
    from mjctl.models.deployment import RegionResult
    from mjctl.models.environment import Environment
    from mjctl.models.workspace import Workspace
    from mjctl.terraform.engine import Engine

_T = TypeVar("_T")

AutoApproveOption = Annotated[
    bool, typer.Option("--auto-approve", envvar="MJCTL_AUTO_APPROVE", help="Do not ask before the change.")
]
LockTimeoutOption = Annotated[
    float, typer.Option("--lock-timeout", envvar="MJCTL_LOCK_TIMEOUT", min=0, help="Seconds to wait for a held region.")
]


def plan(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Show what a deploy would change; exit code 2 when there are changes.

    Example: mjctl plan --region us-east-1
    """
    from mjctl.deploy.executor import discard

    run = _open(env, output)
    regions = _wanted(run.environment, region, all_regions)
    with _held(run, regions, "plan", lock_timeout):
        planned = _phase(run, lambda deployment: deployment.plan(regions))
        discard(planned)
    _emit_changes(run, [one.result for one in planned])


def drift(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Show what has changed in the world since the last deploy; exit code 2 when something has.

    Example: mjctl drift --all-regions
    """
    from mjctl.deploy.executor import discard

    run = _open(env, output)
    regions = chosen_regions(run.environment, region, all_regions) or _deployed(run)
    with _held(run, regions, "drift", lock_timeout):
        planned = _phase(run, lambda deployment: deployment.drift(regions))
        discard(planned)
    _emit_changes(run, [one.result for one in planned])


def deploy(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    auto_approve: AutoApproveOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Bring regions to what the environment's file says.

    Example: mjctl deploy --region us-east-1 --auto-approve
    """
    from mjctl.cli.render import changes_table
    from mjctl.deploy.executor import discard

    run = _open(env, output)
    regions = _wanted(run.environment, region, all_regions)
    with _held(run, regions, "deploy", lock_timeout):
        planned = _phase(run, lambda deployment: deployment.plan(regions))
        results = [one.result for one in planned]
        try:
            if all(result.ok for result in results) and any(result.changes for result in results):
                if not auto_approve:
                    run.session.err.print(changes_table(results))
                    question = f"Apply these changes to {run.environment.name}: {', '.join(regions)}?"
                    run.session.confirm(question, yes=False)
                results = _phase(run, lambda deployment: deployment.apply(planned))
        finally:
            discard(planned)
    _emit_results(run, results)


def destroy(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    auto_approve: AutoApproveOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Take regions down, with all that they hold.

    Example: mjctl destroy --all-regions --auto-approve
    """
    from mjctl.deploy.executor import discard

    run = _open(env, output)
    regions = _wanted(run.environment, region, all_regions)
    with _held(run, regions, "destroy", lock_timeout):
        planned = _phase(run, lambda deployment: deployment.plan(regions, destroy=True))
        results = [one.result for one in planned]
        try:
            if all(result.ok for result in results):
                if not auto_approve:
                    count = sum(result.remove for result in results)
                    where = f"{run.environment.name}: {', '.join(regions)}"
                    run.session.confirm(f"Destroy {count} resources of {where}? Their data is lost.", yes=False)
                results = _phase(run, lambda deployment: deployment.destroy(planned))
        finally:
            discard(planned)
    _emit_results(run, results)


def outputs(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show what deployed regions publish: addresses, tables, queues, identity. No secret is among it.

    Example: mjctl outputs --region us-east-1 --output json
    """
    from rich.table import Table

    from mjctl.terraform.contracts import deployed_contracts

    run = _open(env, output)
    contracts = deployed_contracts(run.workspace, run.environment, chosen_regions(run.environment, region, all_regions))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, contract in contracts.items():
        for field, value in _leaves(contract.model_dump(mode="json")):
            table.add_row(name, field, str(value))
    run.session.emit(table, data={name: contract.model_dump(mode="json") for name, contract in contracts.items()})


def status(
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: AllRegionsOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show each region's state: deployed or not, since when, by whom it is being worked on.

    Example: mjctl status --all-regions
    """
    from mjctl.cli.render import status_table
    from mjctl.deploy.status import region_status

    run = _open(env, output)
    regions = chosen_regions(run.environment, region, all_regions) or tuple(run.environment.regions)
    found = [region_status(run.workspace, run.environment, name) for name in regions]
    run.session.emit(status_table(found), data={"run.environment": run.environment.name, "regions": found})


def unlock(
    env: EnvOption = "local",
    region: RegionOption = None,
    lock_id: Annotated[str | None, typer.Option("--id", help="The lock's id, as the error message names it.")] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove a state lock whose holder is gone; a holder that lives is named and left alone.

    Example: mjctl unlock --region us-east-1
    """
    import asyncio

    from mjctl.deploy.unlock import unlock_region

    run = _open(env, output)
    regions = chosen_regions(run.environment, region)
    if len(regions) != 1:
        raise UsageError("unlock takes exactly one region", hint="mjctl unlock --region us-east-1")
    said = asyncio.run(unlock_region(run.workspace, run.environment, regions[0], lock_id))
    run.session.emit(said, data={"run.environment": run.environment.name, "region": regions[0], "result": said})


@dataclass
class _Opened:
    """What every command of this module begins with."""

    session: Session
    workspace: Workspace
    environment: Environment

    @cached_property
    def engine(self) -> Engine:
        from mjctl.terraform.engine import find_engine

        return find_engine()


def _open(env: str, output: OutputFormat) -> _Opened:
    workspace, environment = open_environment(env)
    return _Opened(open_session(output), workspace, environment)


def _wanted(environment: Environment, region: list[str] | None, all_regions: bool) -> tuple[str, ...]:
    regions = chosen_regions(environment, region, all_regions)
    if not regions:
        raise UsageError(
            "which regions?",
            where=f"environment {environment.name}: {', '.join(environment.regions)}",
            hint="--region NAME (repeatable) or --all-regions",
        )
    return regions


def _deployed(run: _Opened) -> tuple[str, ...]:
    from mjctl.terraform.contracts import deployed_contracts

    return tuple(deployed_contracts(run.workspace, run.environment))


def _held(run: _Opened, regions: Sequence[str], purpose: str, wait_seconds: float) -> AbstractContextManager[None]:
    from mjctl.deploy.executor import locked
    from mjctl.terraform.stack import Stack

    stacks = [Stack.of_region(run.workspace, run.environment, region) for region in regions]
    return locked(stacks, purpose, wait_seconds)


def _phase(run: _Opened, work: Callable[[Deployment], Coroutine[Any, Any, list[_T]]]) -> list[_T]:
    """One stretch of work with live progress, in which the first Ctrl-C or SIGTERM becomes a clean stop."""
    import asyncio

    from mjctl.cli.render import view_for
    from mjctl.deploy.executor import Deployment
    from mjctl.terraform.runner import Cancellation, Runner

    async def main(view: View) -> list[_T]:
        cancellation = Cancellation()
        _stop_on_signals(cancellation, view)
        return await work(Deployment(run.workspace, run.environment, Runner(run.engine, cancellation), view))

    with view_for(run.session) as view:
        return asyncio.run(main(view))


def _stop_on_signals(cancellation: Any, view: View) -> None:
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


def _emit_changes(run: _Opened, results: Sequence[RegionResult]) -> None:
    from mjctl.cli.render import changes_table, print_error, result_data, results_table

    for result in results:
        if result.error:
            print_error(result.error, as_json=False)
    changed = any(result.changes for result in results)
    code = _exit_code(results)
    if code is ExitCode.OK and any(result.outcome == "planned" for result in results):
        code = ExitCode.CHANGES_PENDING
    data = {
        "environment": run.environment.name,
        "exit_code": int(code),
        "regions": [result_data(result) for result in results],
    }
    if changed and run.session.output is OutputFormat.TEXT:
        run.session.out.print(changes_table(results))
    run.session.emit(results_table(results, {}), data=data)
    _end(code)


def _emit_results(run: _Opened, results: Sequence[RegionResult]) -> None:
    from mjctl.cli.render import print_error, result_data, results_table
    from mjctl.terraform.contracts import deployed_contracts

    for result in results:
        if result.error:
            print_error(result.error, as_json=False)
    code = _exit_code(results)
    up = [result.region for result in results if result.outcome in ("applied", "unchanged")]
    up = [name for name in up if _is_up(run, name)]
    contracts = deployed_contracts(run.workspace, run.environment, up) if up else {}
    addresses = {name: contract.endpoints.api for name, contract in contracts.items()}
    data = {
        "environment": run.environment.name,
        "exit_code": int(code),
        "regions": [{**result_data(result), "api": addresses.get(result.region)} for result in results],
    }
    run.session.emit(results_table(results, addresses), data=data)
    _end(code)


def _is_up(run: _Opened, region: str) -> bool:
    from mjctl.terraform.stack import Stack

    return Stack.of_region(run.workspace, run.environment, region).exists()


def _exit_code(results: Sequence[RegionResult]) -> ExitCode:
    """0 when all went well; the cause's own code when all failed alike; 4 when some went well; 130 when stopped."""
    if any(result.outcome == "interrupted" for result in results):
        return ExitCode.INTERRUPTED
    failed = [result for result in results if not result.ok]
    if not failed:
        return ExitCode.OK
    if len(failed) < len(results):
        return ExitCode.PARTIAL
    causes = {result.error.exit_code for result in failed if result.error}
    return causes.pop() if len(causes) == 1 else ExitCode.FAILED


def _end(code: ExitCode) -> None:
    if code is not ExitCode.OK:
        raise Exit(code)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """`{"a": {"b": 1}}` becomes `[("a.b", 1)]`."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return [leaf for number, inner in enumerate(value) for leaf in _leaves(inner, f"{path}[{number}]")]
    return [(path, value)]
