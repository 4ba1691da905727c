"""Rehearses a restore: restores a backup into a scratch copy, compares and checks the copy, and removes the copy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from mjctl.backup import database, restore, tables
from mjctl.backup.archive import ArchiveReader
from mjctl.backup.create import OnProgress
from mjctl.backup.destination import Destination
from mjctl.backup.keys import Unlocker
from mjctl.backup.verify import open_archive
from mjctl.clients.boto import RegionClients
from mjctl.clients.objects import ObjectStore
from mjctl.models.backup import BackupEntry, Comparison, DrillReport, Kind
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError

# Type of the function that runs health checks on the stores that a contract names. The caller of a drill passes a
# function of this type, because the packages `backup` and `health` do not import each other.
RunChecks = Callable[[Contract], Awaitable[Sequence[CheckResult]]]


async def drill(
    contract: Contract,
    clients: RegionClients,
    store: ObjectStore,
    entry: BackupEntry,
    run_checks: RunChecks,
    *,
    on_progress: OnProgress = lambda _label, _count: None,
) -> DrillReport:
    """Restore `entry` into a scratch copy beside the region's live stores, check the copy and remove the copy.

    The scratch copy is removed even if the restore or a check fails. The report contains the error text of a failed
    restore or check.

    Returns:
        The report, with the duration of each step in seconds.

    Raises:
        MjctlError: the copy could not be removed.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    copy = Destination(contract, clients, f"drill-{secrets.token_hex(4)}")
    compared: tuple[Comparison, ...] = ()
    checks: Sequence[CheckResult] = ()
    error: str | None = None
    try:
        reader = await open_archive(store, entry, [Unlocker(contract, clients)])
        steps = await restore.plan(reader, copy)
        report = await restore.execute(steps, reader, copy, on_progress=on_progress)
        compared, seconds["restore"] = report.comparisons, report.seconds
        checking = time.perf_counter()
        await _make_usable(reader, copy)
        checks = await run_checks(copy.scratch_contract(reader.manifest))
        seconds["checks"] = time.perf_counter() - checking
    except MjctlError as failure:
        error = str(failure)
    finally:
        removing = time.perf_counter()
        await copy.tidy()
        seconds["remove"] = time.perf_counter() - removing
    seconds["total"] = time.perf_counter() - started
    return DrillReport(
        backup_id=entry.backup_id,
        scratch=copy.scratch or "",
        comparisons=compared,
        checks=tuple(checks),
        removed=True,
        error=error,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


async def _make_usable(reader: ArchiveReader, copy: Destination) -> None:
    """Run the newer migrations on the copied database, and let DynamoDB remove expired items of the copied tables.

    Call this function only after the comparison with the backup, because a migration changes rows, and DynamoDB removes
    expired items.
    """
    kinds = {part.kind for part in reader.manifest.parts}
    if Kind.DATABASE in kinds and reader.manifest.database.get("migration") is not None:
        await database.migrate(copy.database_contract, copy.clients, "head")
    for part in reader.manifest.parts:
        if part.kind is Kind.TABLE:
            await tables.set_expiry(copy.clients, copy.table(part.name), part.schema)
