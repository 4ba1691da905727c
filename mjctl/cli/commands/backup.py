"""`mjctl backup`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mjctl.cli.group import CommandGroup
from mjctl.cli.options import (
    BackupArgument,
    BackupKind,
    DryRunOption,
    EnvOption,
    EveryRegionOption,
    JUnitOption,
    KindOption,
    OnlyOption,
    OutputOption,
    RegionOption,
    StoreOption,
    YesOption,
)
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.errors import NotFoundError, UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mjctl.models.contract import Contract

app = CommandGroup(no_args_is_help=True, help="Make, verify, restore, prune and rehearse backups.")


@app.command()
def create(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    only: OnlyOption = None,
    cache_namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--cache-namespace",
            metavar="GLOB",
            help="Glob over cache namespaces to keep, `!` takes away; repeatable. Instead of backup.cache_namespaces.",
        ),
    ] = None,
    copy_to: Annotated[
        str | None,
        typer.Option("--copy-to", metavar="REGION", help="Also keep a copy in, and for the key of, this region."),
    ] = None,
    dry_run: DryRunOption = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Back up tables, database and cache of each region.

    A backup is complete or it is not kept.

    Example: mjctl backup create --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.backup.create import Selection
    from mjctl.cli import backup_actions as actions
    from mjctl.cli.output.backup import created_lines, managed_table, planned_table
    from mjctl.cli.target import Target, conclude, regions_document, rows_document

    target = Target(env, region, output, all_regions=all_regions)
    if kind is BackupKind.MANAGED:
        from mjctl.backup import managed

        outcomes = target.in_each_region(lambda contract: managed.create(contract, dry_run=dry_run))
        conclude(target.session, outcomes, managed_table(outcomes), rows_document("backups", outcomes))
        return
    settings = target.environment.backup
    selection = Selection(actions.kinds_of(only), tuple(cache_namespace or settings.cache_namespaces))
    if dry_run:
        plans = target.in_each_region(lambda contract: operations.plan_create(contract, selection))
        conclude(target.session, plans, planned_table(plans), rows_document("parts", plans))
        return
    other = actions.contract_of(target, copy_to) if copy_to else None
    location = store or settings.store
    with actions.RecordProgress(target) as progress:
        done = target.in_each_region(
            lambda contract: operations.create(
                contract, selection, location, copy_to=other, on_progress=progress.of("backing up", contract.region)
            ),
        )
    conclude(target.session, done, created_lines(done), regions_document(done, operations.manifest_document))


@app.command("list")
def list_backups(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the backups of each region, incomplete backups included.

    Example: mjctl backup list --region us-east-1 --output json
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import backup_table, managed_table
    from mjctl.cli.target import Target, conclude, rows_document

    target = Target(env, region, output, all_regions=all_regions)
    if kind is BackupKind.MANAGED:
        from mjctl.backup import managed

        outcomes = target.in_each_region(managed.list_backups)
        conclude(target.session, outcomes, managed_table(outcomes), rows_document("backups", outcomes))
        return
    location = store or target.environment.backup.store
    entries = target.in_each_region(lambda contract: operations.catalog(contract, location))
    document = rows_document("backups", entries, lambda entry: entry.summary())
    conclude(target.session, entries, backup_table(entries), document)


@app.command()
def show(
    backup: BackupArgument = "latest",
    *,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show parts, counts and sizes of a backup, and the keys for it.

    Example: mjctl backup show latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli import backup_actions as actions
    from mjctl.cli.output.backup import shown
    from mjctl.cli.target import Target, conclude, regions_document

    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    outcomes = actions.where_found(target, lambda contract: operations.find(contract, location, backup))
    conclude(target.session, outcomes, shown(outcomes), regions_document(outcomes, operations.entry_document))


@app.command()
def verify(
    backup: BackupArgument = "latest",
    *,
    every: Annotated[
        bool, typer.Option("--all", envvar="MJCTL_BACKUP_ALL", help="Every complete backup, not one.")
    ] = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Read a whole backup and check signature, digests and counts.

    Exit code 14 when anything differs.

    Example: mjctl backup verify latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli import backup_actions as actions
    from mjctl.cli.output.backup import verify_lines
    from mjctl.cli.target import Target, conclude, rows_document

    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    with actions.RecordProgress(target) as progress:
        outcomes = actions.where_found(
            target,
            lambda contract: operations.verify(
                contract, location, None if every else backup, on_progress=progress.bytes_of(contract.region)
            ),
        )
    conclude(target.session, outcomes, verify_lines(outcomes), rows_document("backups", outcomes))
    if any(report.problems for outcome in outcomes for report in outcome.value or ()):
        raise Exit(ExitCode.VERIFICATION)


@app.command()
def restore(
    backup: BackupArgument = "latest",
    *,
    kind: KindOption = BackupKind.PORTABLE,
    only: OnlyOption = None,
    to_region: Annotated[str | None, typer.Option("--to-region", metavar="REGION", help="Into another region.")] = None,
    to_env: Annotated[str | None, typer.Option("--to-env", metavar="NAME", help="Into another environment.")] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="NAME",
            help="Into a copy beside the region's own stores, made for this.",
        ),
    ] = None,
    point_in_time: Annotated[
        datetime | None,
        typer.Option(
            "--point-in-time",
            metavar="TIME",
            formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"],
            help="Moment to go back to (UTC), with --kind managed --into NAME.",
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

    What is there already is only written over after a question, or with --yes. Stopped half-way, repeat the command.

    Example: mjctl backup restore latest --region us-east-1 --to-region eu-west-1 --dry-run
    """
    from mjctl.cli import backup_actions as actions
    from mjctl.cli.target import Target

    if point_in_time is not None and kind is not BackupKind.MANAGED:
        raise UsageError("--point-in-time goes with --kind managed", hint="a portable backup is of one moment: its id")
    target = Target(env, region, output)
    source = actions.only_region(target)
    if kind is BackupKind.MANAGED:
        actions.restore_managed(target, source, backup, into, point_in_time, dry_run=dry_run)
        return
    destination = source
    if to_env is not None or to_region is not None:
        destination = actions.contract_of(target, to_region or source.region, to_env)
    actions.restore_portable(target, source, destination, backup, only, into, store, dry_run=dry_run, yes=yes)


@app.command()
def prune(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="COUNT", min=0, help="The newest so many.")
    ] = None,
    keep_daily: Annotated[
        int | None, typer.Option("--keep-daily", metavar="COUNT", min=0, help="One of each of so many days.")
    ] = None,
    keep_weekly: Annotated[
        int | None,
        typer.Option("--keep-weekly", metavar="COUNT", min=0, help="One of each of so many weeks."),
    ] = None,
    keep_monthly: Annotated[
        int | None,
        typer.Option("--keep-monthly", metavar="COUNT", min=0, help="One of each of so many months."),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove backups that the policy does not keep.

    Also removes what interrupted runs have left. Shows the plan, then asks.

    Without a --keep option the environment's backup.keep holds; with one, only what is given counts.

    Example: mjctl backup prune --keep-last 3 --keep-daily 7 --dry-run
    """
    from mjctl.cli import backup_actions as actions
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
    actions.prune(target, policy, location, managed=kind is BackupKind.MANAGED, dry_run=dry_run, yes=yes)


@app.command()
def drill(
    backup: BackupArgument = "latest",
    *,
    kind: KindOption = BackupKind.PORTABLE,
    only: OnlyOption = None,
    junit: JUnitOption = None,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Restore a backup into a scratch copy, check it, remove it.

    Exit code 14 when the backup is not proven.

    With --kind managed, only tables can be proven: nothing outside the VPC can read a restored cluster or cache. The
    report names what is not proven; --only table asks for the tables alone.

    Example: mjctl backup drill latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli import backup_actions as actions
    from mjctl.cli.output.backup import drill_report
    from mjctl.cli.target import Target, conclude, regions_document

    if only and kind is not BackupKind.MANAGED:
        raise UsageError("--only goes with --kind managed", hint="a portable drill proves all that the backup holds")
    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    with actions.RecordProgress(target) as progress:

        def one(contract: Contract) -> Awaitable[Any]:
            if kind is BackupKind.MANAGED:
                from mjctl.backup import managed

                checks = actions.checks_of(target, "table/*")
                return managed.drill(contract, backup, checks, actions.kinds_of(only))
            return operations.drill(
                contract,
                location,
                backup,
                actions.checks_of(target, "database", "table/*"),
                on_progress=progress.of("rehearsing", contract.region),
            )

        outcomes = actions.where_found(target, one)
    if junit is not None:
        actions.write_drill_junit(junit, target, outcomes)
    conclude(target.session, outcomes, drill_report(outcomes), regions_document(outcomes, operations.drill_document))
    if any(outcome.value is not None and not outcome.value.proven for outcome in outcomes):
        raise Exit(ExitCode.VERIFICATION)


@app.command()
def discard(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The copy's name; without one, list what there is.")
    ] = None,
    *,
    yes: YesOption = False,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove a restored copy; without NAME list the copies.

    `restore --into` makes such copies, and a killed drill leaves one.

    Example: mjctl backup discard review --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import region_lines
    from mjctl.cli.target import Target, conclude, regions_document

    target = Target(env, region, output, all_regions=all_regions)
    if name is None:
        found = target.in_each_region(operations.copies)
        text = region_lines(found, lambda names: ", ".join(names) or "no copy")
        conclude(target.session, found, text, regions_document(found, lambda names: {"copies": names}))
        return
    target.session.confirm(f"Remove the copy `{name}` in {target.scope}?", yes=yes)
    removed = target.in_each_region(lambda contract: operations.discard(contract, name))
    if all(outcome.error is None and not outcome.value for outcome in removed):
        raise NotFoundError(f"there is no copy `{name}`", where=target.scope, hint="`mjctl backup discard` lists them")
    text = region_lines(removed, lambda parts: "removed " + ", ".join(parts) if parts else "was not there")
    conclude(target.session, removed, text, regions_document(removed, lambda parts: {"removed": parts}))
