"""`mjctl bootstrap`: creates the bucket for Terraform states."""

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

    The bucket is versioned and encrypted, and each state in the bucket has a lock. The command asks for confirmation
    before it creates or changes the bucket.

    Run the command once for each project and account: all environments of the project share the bucket. If the bucket
    exists, the command corrects wrong settings of the bucket. After an interruption, run the command again to complete
    the bucket.

    Example: mjctl bootstrap --env staging --auto-approve
    """
    run = open_run("bootstrap", env, output, lock_timeout=lock_timeout)

    def approve(wanted: Bootstrap, planned: UnitResult) -> bool:
        run.confirm([planned], f"Create or change the state bucket {wanted.account.bucket}?", auto_approve)
        return True

    _emit(run, *run.deploys.bootstrap(approve=approve))


def _emit(run: Run, bootstrapped: Bootstrap, result: UnitResult) -> None:
    from mjctl.deploy.bootstrap import STATE_KEY

    account = bootstrapped.account
    outcome: Literal["unchanged", "changed", "made"] = "changed" if bootstrapped.bucket_exists else "made"
    if result.outcome == "unchanged" and bootstrapped.moved:
        outcome = "unchanged"
    sentence = {
        "unchanged": "exists already, and its settings are correct",
        "changed": "existed already, and its settings have been corrected",
        "made": "has been created",
    }[outcome]
    run.session.emit(
        f"The state bucket {account.bucket} ({account.state_region()}) {sentence}.",
        account_id=account.account_id,
        outcome=outcome,
        bucket=account.bucket,
        region=account.state_region(),
        kms_key_arn=account.state_key_arn(),
        state=f"s3://{account.bucket}/{STATE_KEY}",
    )
