"""`mjctl backup drill`: shows that a backup can be restored."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mjctl.cli.commands.backup.common import kinds_of, records
from mjctl.cli.options import (
    BackupArgument,
    BackupKind,
    EnvOption,
    EveryRegionOption,
    JUnitOption,
    KindOption,
    OnlyOption,
    OutputOption,
    RegionOption,
    StoreOption,
)
from mjctl.cli.session import Exit, OutputFormat
from mjctl.models.errors import UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.target import Target
    from mjctl.clients.regions import RegionOutcome
    from mjctl.models.check import CheckResult
    from mjctl.models.contract import Contract


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
    """Restore a backup into a scratch copy, check and remove the copy.

    The command does not change the region's own data stores, and asks for no confirmation. Exit code 14 if the restored
    copy differs from the backup, fails a check or cannot be compared.

    With --kind managed, the drill restores and compares tables only, because mjctl cannot read a restored database
    cluster or cache from outside the VPC. With --kind managed, the report lists the database and the cache as not
    proven, unless --only table leaves them out.

    Example: mjctl backup drill latest --region us-east-1
    """
    from mjctl.backup import operations
    from mjctl.cli.output.backup import drill_report
    from mjctl.cli.output.documents.backup_entries import drill_entry
    from mjctl.cli.target import Target, conclude

    if only and kind is not BackupKind.MANAGED:
        raise UsageError(
            "--only needs --kind managed",
            hint="leave out --only: the drill of a portable backup always restores and compares all parts of the "
            "backup",
        )
    target = Target(env, region, output, all_regions=all_regions)
    location = store or target.environment.backup.store
    with target.session.progress() as progress:

        def drill_region(contract: Contract) -> Awaitable[Any]:
            if kind is BackupKind.MANAGED:
                from mjctl.backup import managed

                checks = target.checks("table/*")
                return managed.drill(contract, backup, checks, kinds_of(only))
            return operations.drill(
                contract,
                location,
                backup,
                target.checks("database", "table/*"),
                on_progress=records(progress, f"rehearsing {contract.region}"),
            )

        outcomes = target.each_that_has(drill_region)
    if junit is not None:
        _write_junit(junit, target, outcomes)
    conclude(target.session, outcomes, drill_report(outcomes), drill_entry)
    if any(outcome.value is not None and not outcome.value.proven for outcome in outcomes):
        raise Exit(ExitCode.VERIFICATION)


def _write_junit(path: Path, target: Target, outcomes: Sequence[RegionOutcome[Any]]) -> None:
    """Write a JUnit report with one suite for each region.

    A region whose drill raised an error has one failed test case.

    Raises:
        PermissionDeniedError: the file cannot be written.
    """
    from mjctl.cli.output.reports import health_junit, write_report
    from mjctl.models.check import CheckResult, CheckStatus

    results: list[CheckResult] = []
    for outcome in outcomes:
        if outcome.value is not None:
            results += outcome.value.results(outcome.region)
        else:
            results.append(CheckResult("drill", outcome.region, CheckStatus.FAIL, str(outcome.error)))
    write_report(path, health_junit(target.environment.name, results, "backup drill"))
