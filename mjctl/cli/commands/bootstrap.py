"""`mjctl bootstrap`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from mjctl.cli.deploy_run import Run, open_run
from mjctl.cli.options import EnvOption, LockTimeoutOption, OutputOption, YesOption
from mjctl.cli.session import OutputFormat
from mjctl.models.errors import UsageError

if TYPE_CHECKING:
    from mjctl.deploy.bootstrap import Bootstrap
    from mjctl.deploy.executor import Deployment, PlannedUnit
    from mjctl.models.deployment import UnitResult
    from mjctl.terraform.runner import Runner


def bootstrap(
    env: EnvOption = "local",
    auto_approve: YesOption = False,
    output: OutputOption = OutputFormat.TEXT,
    lock_timeout: LockTimeoutOption = 0,
) -> None:
    """Create the bucket for Terraform states in an AWS account.

    The bucket is versioned and encrypted, and each state in it has a lock.

    Once for all environments of a project in an account. Run again, it puts right what has changed, or says that all is
    there; one that was interrupted is finished by the next.

    Example: mjctl bootstrap --env staging --auto-approve
    """
    from mjctl.deploy.bootstrap import move_state, prepare
    from mjctl.terraform.lock import region_lock

    run = open_run("bootstrap", env, output)
    if run.environment.target == "local":
        raise UsageError(
            f"environment `{env}` needs no state bucket: its states stay on this machine",
            where=f"configs/{env}.yaml: target local",
            hint="name one whose target is aws or sandbox",
        )
    wanted = prepare(run.workspace, run.environment)

    def say(text: str) -> None:
        run.session.say(text)

    with region_lock(wanted.desired.stack, run.command, wait_seconds=lock_timeout, on_wait=say):
        # Once more, for another run may have finished while this one waited.
        wanted = prepare(run.workspace, run.environment)
        result = _made(run, wanted, auto_approve)
        if not wanted.moved:
            run.phase(lambda deployment: _by_terraform(run, deployment, wanted, move_state))
    _emit(run, wanted, result)


def _made(run: Run, wanted: Bootstrap, auto_approve: bool) -> UnitResult:
    """Plan, ask, apply.

    Raises:
        MjctlError: it went wrong; the next run goes on from there.
    """
    from mjctl.deploy.bootstrap import take_up
    from mjctl.deploy.executor import discard

    run.phase(lambda deployment: _by_terraform(run, deployment, wanted, take_up))
    planned: list[PlannedUnit] = run.phase(lambda deployment: deployment.plan([wanted.desired]))
    result = planned[0].result
    try:
        if result.ok:
            run.confirm(planned, f"Make the state bucket {wanted.account.bucket}?", auto_approve)
            result = run.phase(lambda deployment: deployment.apply(planned))[0]
    finally:
        discard(planned)
    if result.error is not None:
        raise result.error
    return result


async def _by_terraform(
    run: Run, deployment: Deployment, wanted: Bootstrap, work: Callable[[Runner, Bootstrap], Awaitable[None]]
) -> list[None]:
    from mjctl.terraform.runner import Runner

    await work(Runner(run.engine, deployment.cancellation), wanted)
    return []


def _emit(run: Run, made: Bootstrap, result: UnitResult) -> None:
    from mjctl.cli.output.documents import BootstrapDocument
    from mjctl.deploy.bootstrap import STATE_KEY

    account = made.account
    outcome: Literal["unchanged", "changed", "made"]
    outcome = "unchanged" if result.outcome == "unchanged" and made.moved else "changed" if made.found else "made"
    told = {
        "unchanged": "is there already, and as it should be",
        "changed": "was there already, and has been put right",
        "made": "is made",
    }[outcome]
    run.session.emit(
        f"The state bucket {account.bucket} ({account.state_region()}) {told}.",
        data=BootstrapDocument(
            environment=run.environment.name,
            account_id=account.account_id,
            outcome=outcome,
            bucket=account.bucket,
            region=account.state_region(),
            kms_key_arn=account.state_key_arn(),
            state=f"s3://{account.bucket}/{STATE_KEY}",
        ),
    )
