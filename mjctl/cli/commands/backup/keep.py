"""`mjctl backup create`, `list`, `show` and `verify`: the commands that make and read backups."""

from __future__ import annotations

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
)
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.models.contract import Contract


def create(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    only: OnlyOption = None,
    cache_namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--cache-namespace",
            metavar="GLOB",
            help="Back up only the cache namespaces that GLOB matches. `!GLOB` excludes the namespaces that GLOB "
            "matches. "
            "Repeatable. Default: backup.cache_namespaces of the environment's file.",
        ),
    ] = None,
    copy_to: Annotated[
        str | None,
        typer.Option(
            "--copy-to",
            metavar="REGION",
            help="Also write a copy of the backup to the store of REGION. The KMS key of REGION can decrypt the copy.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Back up tables, database and cache of each region.

    The command only reads the region's data stores. If the command fails or receives Ctrl-C, it removes the unfinished
    backup. On AWS, a task inside the VPC makes the backup of the tables and the database, without the private cache.

    Example: mjctl backup create --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.backup.create import Selection
    from mjctl.cli.output.backup import created_lines, managed_table, planned_table
    from mjctl.cli.output.documents.backup_entries import manifest_entry
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    if kind is BackupKind.MANAGED:
        from mjctl.backup import managed

        outcomes = target.in_each_region(lambda contract: managed.create(contract, dry_run=dry_run))
        conclude(target.session, outcomes, managed_table(outcomes), lambda rows: {"backups": rows})
        return
    settings = target.environment.backup
    namespaces = tuple(cache_namespace or settings.cache_namespaces)

    def selection(contract: Contract) -> Selection:
        kinds = kinds_of(only) if only else operations.kinds_of_default(contract)
        return Selection(kinds, namespaces)

    if dry_run:
        plans = target.in_each_region(lambda contract: operations.plan_create(contract, selection(contract)))
        conclude(target.session, plans, planned_table(plans), lambda parts: {"parts": parts})
        return
    other = target.contract_of(copy_to) if copy_to else None
    location = store or settings.store
    with target.session.progress() as progress:
        done = target.in_each_region(
            lambda contract: operations.create(
                contract,
                selection(contract),
                location,
                copy_to=other,
                on_progress=records(progress, f"backing up {contract.region}"),
            ),
        )
    conclude(target.session, done, created_lines(done), manifest_entry)


def list_backups(
    *,
    kind: KindOption = BackupKind.PORTABLE,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the backups of each region, also incomplete backups.

    Example: mjctl backup list --region us-east-1 --output json
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import backup_table, managed_table
    from mjctl.cli.output.documents.backup_entries import summary_entry
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    if kind is BackupKind.MANAGED:
        from mjctl.backup import managed

        outcomes = target.in_each_region(managed.list_backups)
        conclude(target.session, outcomes, managed_table(outcomes), lambda rows: {"backups": rows})
        return
    location = store or target.environment.backup.store
    entries = target.in_each_region(lambda contract: operations.catalog(contract, location))
    conclude(
        target.session,
        entries,
        backup_table(entries),
        lambda backups: {"backups": [summary_entry(entry) for entry in backups]},
    )


def show(
    backup: BackupArgument = "latest",
    *,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show the parts, record counts, sizes and keys of a backup.

    Example: mjctl backup show latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import shown
    from mjctl.cli.output.documents.backup_entries import shown_entry
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    outcomes = target.each_that_has(lambda contract: operations.find(contract, location, backup))
    conclude(target.session, outcomes, shown(outcomes), shown_entry)


def verify(
    backup: BackupArgument = "latest",
    *,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            envvar="MJCTL_BACKUP_ALL",
            help="Verify every backup that has a manifest, and ignore the argument BACKUP.",
        ),
    ] = False,
    store: StoreOption = None,
    env: EnvOption = "local",
    region: RegionOption = None,
    all_regions: EveryRegionOption = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Read a whole backup and check signature, digests and counts.

    The command restores nothing. Exit code 14 if the backup is damaged.

    Example: mjctl backup verify latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import verify_lines
    from mjctl.cli.target import Target, conclude

    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    with target.session.progress() as progress:
        outcomes = target.each_that_has(
            lambda contract: operations.verify(
                contract,
                location,
                None if every else backup,
                on_progress=progress.counter(f"verifying {contract.region}: bytes"),
            ),
        )
    conclude(target.session, outcomes, verify_lines(outcomes), lambda reports: {"backups": reports})
    if any(report.problems for outcome in outcomes for report in outcome.value or ()):
        raise Exit(ExitCode.VERIFICATION)
