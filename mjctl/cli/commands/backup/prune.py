"""`mjctl backup prune`: deletes old backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.options import (
    BackupKind,
    DryRunOption,
    EnvOption,
    EveryRegionOption,
    KindOption,
    OutputOption,
    RegionOption,
    StoreOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.models.backup import RetentionPolicy


def prune(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", metavar="COUNT", min=0, help="Keep the newest COUNT backups."),
    ] = None,
    keep_daily: Annotated[
        int | None,
        typer.Option(
            "--keep-daily",
            metavar="COUNT",
            min=0,
            help="Keep the newest backup of each day, for the newest COUNT days (UTC) that have a backup.",
        ),
    ] = None,
    keep_weekly: Annotated[
        int | None,
        typer.Option(
            "--keep-weekly",
            metavar="COUNT",
            min=0,
            help="Keep the newest backup of each ISO week, for the newest COUNT weeks that have a backup.",
        ),
    ] = None,
    keep_monthly: Annotated[
        int | None,
        typer.Option(
            "--keep-monthly",
            metavar="COUNT",
            min=0,
            help="Keep the newest backup of each month, for the newest COUNT months that have a backup.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete backups that the retention policy does not keep.

    The command shows the planned deletions and asks for confirmation first. The command also deletes incomplete backups
    that interrupted runs have left. Damaged backups stay.

    Without a --keep option, the retention policy is backup.keep of the environment's file. With a --keep option, the
    retention policy consists only of the given --keep options.

    Example: mjctl backup prune --keep-last 3 --keep-daily 7 --dry-run
    """
    from mjctl.cli.target import Target
    from mjctl.models.backup import RetentionPolicy

    target = Target(env, region, output, all_regions=all_regions)
    given = (keep_last, keep_daily, keep_weekly, keep_monthly)
    keep = target.environment.backup.keep
    policy = (
        RetentionPolicy(keep.last, keep.daily, keep.weekly, keep.monthly)
        if all(number is None for number in given)
        else RetentionPolicy(*(number or 0 for number in given))
    )
    location = store or target.environment.backup.store
    _prune(target, policy, location, managed=kind is BackupKind.MANAGED, dry_run=dry_run, yes=yes)


def _prune(
    target: Target, policy: RetentionPolicy, location: str | None, *, managed: bool, dry_run: bool, yes: bool
) -> None:
    """Plan the deletions, show the plan, ask for confirmation, then delete backups."""
    from mjctl.backup import managed as aws
    from mjctl.backup import operations
    from mjctl.cli.output.backup import prune_table, region_lines
    from mjctl.cli.output.documents.backup_entries import prune_plan_entry
    from mjctl.cli.output.tables import counted, human_bytes
    from mjctl.cli.target import conclude

    plans = target.in_each_region(
        lambda contract: (
            aws.plan_prune(contract, policy) if managed else operations.plan_prune(contract, location, policy)
        ),
    )
    if dry_run or any(outcome.error is not None for outcome in plans):
        conclude(target.session, plans, prune_table(plans), prune_plan_entry)
        return
    chosen = {outcome.region: outcome.value for outcome in plans if outcome.value is not None}
    target.session.err.print(prune_table(plans))
    count = sum(len(plan.removed) for plan in chosen.values())
    if count:
        target.session.confirm(f"Delete {counted(count, 'backup')} of {target.scope}, permanently?", yes=yes)
    done = target.in_each_region(
        lambda contract: (
            aws.prune(contract, chosen[contract.region])
            if managed
            else operations.prune(contract, location, chosen[contract.region])
        ),
    )
    freed = region_lines(
        done,
        lambda result: f"{counted(len(result['removed']), 'backup')} deleted, {human_bytes(result['freed_bytes'])}",
    )
    conclude(target.session, done, freed, dict)
