"""The age of the newest backup against what was promised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mjctl.aws.backups import newest_backup
from mjctl.aws.objects import open_store
from mjctl.aws.snapshots import recovery_points
from mjctl.health.model import Check, Finding, RegionContext, failed, graded, warned
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    if contract.backup.directory or contract.backup.bucket or contract.backup.vault_name:
        yield Check("backup", check_backup)


async def check_backup(context: RegionContext) -> Finding:
    """Portable backups and recovery points count alike: whatever the region can be restored from.

    On AWS each table and the database must have one; a portable backup holds them all.
    """
    contract = context.contract
    make = f"`mjctl backup create --env {contract.environment} --region {contract.region}` makes one"
    if vault := contract.backup.vault_name:
        make = (
            f"AWS Backup's plan makes them: `aws backup list-backup-jobs --by-backup-vault-name {vault}` says why not"
        )
    portable = await _newest_portable(context)
    points = await recovery_points(context.clients, contract.backup.vault_name) if contract.backup.vault_name else []
    managed = [
        (point.created_at, point.resource, point.backup_id)
        for point in points
        if point.created_at is not None and point.state == "completed"
    ]
    newest: dict[str, tuple[datetime, str, str]] = {}
    for resource in _protected(contract) or ("the region",):
        of_resource = [
            (made, "managed", name) for made, held, name in managed if resource in ("the region", held)
        ] + portable
        if of_resource:
            newest[resource] = max(of_resource)
    missing = [resource.rsplit(":", 1)[-1] for resource in _protected(contract) if resource not in newest]
    if not newest:
        return warned("there is no backup yet", hint=make, backups=0)
    resource, (made, kind, name) = min(newest.items(), key=lambda item: item[1][0])
    age = (datetime.now(UTC) - made).total_seconds()
    bounds = context.thresholds
    status = graded(age, warn=bounds.backup_age_seconds_warn, fail=bounds.backup_age_seconds_fail)
    if contract.target == "local" and status is CheckStatus.FAIL:
        # Nobody was promised anything about a region on a laptop.
        status = CheckStatus.WARN
    evidence: dict[str, object] = {
        "kind": kind,
        "backup": name,
        "age_seconds": round(age),
        "promised_seconds": bounds.backup_age_seconds_warn,
        "resources": len(newest),
        "missing": missing,
    }
    if missing:
        return failed(f"no backup of {', '.join(missing)}", hint=make, **evidence)
    oldest = f", that of {resource.rsplit(':', 1)[-1]}," if len(newest) > 1 else ""
    promised = f"promised is one within {_hours(bounds.backup_age_seconds_warn)}"
    return Finding(
        status,
        f"newest {kind} backup {name}{oldest} is {_hours(age)} old; {promised}",
        None if status is CheckStatus.PASS else make,
        evidence,
    )


def _protected(contract: Contract) -> tuple[str, ...]:
    """ARNs of what AWS Backup is told to keep."""
    if contract.managed is None:
        return ()
    cluster = f"arn:aws:rds:{contract.region}:{contract.aws.account_id}:cluster:{contract.managed.database_cluster}"
    return (*(table.arn for table in contract.tables.values()), cluster)


async def _newest_portable(context: RegionContext) -> list[tuple[datetime, str, str]]:
    contract = context.contract
    if not (contract.backup.directory or contract.backup.bucket):
        return []
    entry = await newest_backup(open_store(contract, context.clients))
    return [(entry.created_at, "portable", entry.backup_id)] if entry is not None else []


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
