"""`mjctl bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mjctl.cli.deploy_run import Run, open_run
from mjctl.cli.options import EnvOption, LockTimeoutOption, OutputOption, YesOption
from mjctl.cli.session import OutputFormat

if TYPE_CHECKING:
    from mjctl.deploy.bootstrap import Bootstrap
    from mjctl.models.deployment import UnitResult


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
    run = open_run("bootstrap", env, output, lock_timeout=lock_timeout)

    def approve(wanted: Bootstrap, planned: UnitResult) -> bool:
        run.confirm([planned], f"Make the state bucket {wanted.account.bucket}?", auto_approve)
        return True

    _emit(run, *run.deploys.bootstrap(approve=approve))


def _emit(run: Run, made: Bootstrap, result: UnitResult) -> None:
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
        account_id=account.account_id,
        outcome=outcome,
        bucket=account.bucket,
        region=account.state_region(),
        kms_key_arn=account.state_key_arn(),
        state=f"s3://{account.bucket}/{STATE_KEY}",
    )
