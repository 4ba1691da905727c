"""`mjctl backup restore` restores a backup, and `mjctl backup discard` deletes a restored copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mjctl.cli.commands.backup.common import kinds_of, records
from mjctl.cli.options import (
    BackupArgument,
    BackupKind,
    DryRunOption,
    EnvOption,
    EveryRegionOption,
    KindOption,
    OnlyOption,
    OutputOption,
    RegionOption,
    StoreOption,
    YesOption,
)
from mjctl.cli.session import OutputFormat
from mjctl.models.errors import NotFoundError, UsageError, VerificationError

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.models.contract import Contract


def restore(
    backup: BackupArgument = "latest",
    *,
    kind: KindOption = BackupKind.PORTABLE,
    only: OnlyOption = None,
    to_region: Annotated[
        str | None,
        typer.Option(
            "--to-region",
            metavar="REGION",
            help="Restore the backup into REGION. Default: the region whose store has the backup.",
        ),
    ] = None,
    to_env: Annotated[
        str | None,
        typer.Option(
            "--to-env",
            metavar="NAME",
            help="Restore the backup into the environment NAME. Default: the value of --env.",
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="NAME",
            help="Restore the backup into a new copy NAME, and leave the region's own data stores unchanged.",
        ),
    ] = None,
    point_in_time: Annotated[
        datetime | None,
        typer.Option(
            "--point-in-time",
            metavar="TIME",
            formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"],
            help="Restore the data as it was at TIME, such as 2026-01-31T06:30:00Z. --point-in-time needs "
            "--kind managed and --into.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Restore a backup, and compare counts and digests afterwards.

    The command shows the planned steps, and asks for confirmation before it overwrites existing records. Exit code 14
    if the restored data differs from the backup. After an interruption, run the same command again to complete the
    restore.

    With --kind managed, AWS restores into new tables and clusters only, so --into is required.

    Example: mjctl backup restore latest --region us-east-1 --to-region eu-west-1 --dry-run
    """
    from mjctl.cli.target import Target

    if point_in_time is not None and kind is not BackupKind.MANAGED:
        raise UsageError(
            "--point-in-time needs --kind managed",
            hint="a portable backup contains the data of one moment, which is part of its id: choose a BACKUP by its "
            "id",
        )
    target = Target(env, region, output)
    source = _only_region(target)
    if kind is BackupKind.MANAGED:
        _restore_managed(target, source, backup, into, point_in_time, dry_run=dry_run)
        return
    destination = source
    if to_env is not None or to_region is not None:
        destination = target.contract_of(to_region or source.region, to_env)
    _restore_portable(target, source, destination, backup, only, into, store, dry_run=dry_run, yes=yes)


def discard(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of the restored copy. Without NAME, the command lists the copies."),
    ] = None,
    *,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete a restored copy; without NAME list the copies.

    The command asks for confirmation before it deletes a copy. Restored copies come from `mjctl backup restore --into
    NAME`, and from drills that were killed.

    Example: mjctl backup discard review --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import region_lines
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    if name is None:
        copies = target.in_each_region(operations.copies)
        text = region_lines(copies, lambda names: ", ".join(names) or "no copy")
        conclude(target.session, copies, text, lambda names: {"copies": names})
        return
    target.session.confirm(f"Delete the copy `{name}` in {target.scope}?", yes=yes)
    removed = target.in_each_region(lambda contract: operations.discard(contract, name))
    if all(outcome.error is None and not outcome.value for outcome in removed):
        raise NotFoundError(
            f"there is no copy `{name}`", where=target.scope, hint="`mjctl backup discard` lists the copies"
        )
    text = region_lines(removed, lambda parts: "deleted " + ", ".join(parts) if parts else "has no such copy")
    conclude(target.session, removed, text, lambda parts: {"removed": parts})


def _restore_portable(
    target: Target,
    source: Contract,
    destination: Contract,
    backup: str,
    only: Sequence[str] | None,
    into: str | None,
    store: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Plan the restore, show the plan, ask for confirmation, then restore the backup.

    Raises:
        VerificationError: the restored data differs from the backup.
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import restore_plan, restore_report
    from mjctl.cli.output.documents.backup_entries import restore_entry, restore_plan_entry

    work = operations.Restore(
        source, destination, store or target.environment.backup.store, backup, into, tuple(kinds_of(only))
    )
    plan = target.run(work.plan())
    if dry_run:
        target.session.emit(restore_plan(plan), regions=[restore_plan_entry(destination.region, plan)])
        return
    if not yes:
        target.session.err.print(restore_plan(plan))
    if plan.overwrites:
        count = sum(step.existing or 0 for step in plan.overwrites)
        target.session.confirm(f"Replace {count} records in {plan.target} by the records of {plan.backup_id}?", yes=yes)
    with target.session.progress() as progress:
        report = target.run(work.execute(plan, on_progress=records(progress, f"restoring {destination.region}")))
    target.session.emit(restore_report(report), regions=[restore_entry(destination.region, report)])
    if not report.equal:
        raise VerificationError(
            "the restored data differs from the backup",
            where=report.target,
            hint="a process changed the restored data during the restore: stop the game servers and the worker, then "
            "repeat the command",
        )


def _restore_managed(
    target: Target, source: Contract, backup: str, into: str | None, moment: datetime | None, *, dry_run: bool
) -> None:
    from mjctl.backup import managed
    from mjctl.cli.output.backup import managed_restores

    if into is None:
        raise UsageError(
            "AWS restores a managed backup into new tables and clusters only",
            hint="give the new copy a name: --into NAME",
        )
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    done = target.run(managed.restore(source, backup, into, moment, dry_run=dry_run))
    target.session.emit(managed_restores(done), regions=[{"region": source.region, "restores": done}])


def _only_region(target: Target) -> Contract:
    if len(target.contracts) != 1:
        raise UsageError(
            "a restore reads the backup from exactly one region, and several regions are selected",
            hint=f"select one of these regions with --region: {', '.join(target.contracts)}",
        )
    return next(iter(target.contracts.values()))
