"""The age of the newest backup against what was promised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mjctl.aws.backups import newest_backup
from mjctl.aws.objects import open_store
from mjctl.aws.snapshots import recovery_points
from mjctl.health.model import Check, Finding, RegionContext, graded, warned
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract


def checks(contract: Contract) -> Iterator[Check]:
    if contract.backup.directory or contract.backup.bucket or contract.backup.vault_name:
        yield Check("backup", check_backup)


async def check_backup(context: RegionContext) -> Finding:
    """Portable backups and recovery points count alike: whatever the region can be restored from."""
    contract = context.contract
    scope = f"--env {contract.environment} --region {contract.region}"
    found: list[tuple[datetime, str, str]] = []
    if contract.backup.directory or contract.backup.bucket:
        entry = await newest_backup(open_store(contract, context.clients))
        if entry is not None:
            found.append((entry.created_at, "portable", entry.backup_id))
    if contract.backup.vault_name:
        points = await recovery_points(context.clients, contract.backup.vault_name)
        found += [
            (point.created_at, "managed", point.backup_id)
            for point in points
            if point.created_at is not None and point.state == "completed"
        ]
    make = f"`mjctl backup create {scope}` makes one"
    if not found:
        return warned("there is no backup yet", hint=make, backups=0)
    made, kind, name = max(found)
    age = (datetime.now(UTC) - made).total_seconds()
    bounds = context.thresholds
    status = graded(age, warn=bounds.backup_age_seconds_warn, fail=bounds.backup_age_seconds_fail)
    if contract.target == "local" and status is CheckStatus.FAIL:
        # Nobody was promised anything about a region on a laptop.
        status = CheckStatus.WARN
    promised = f"promised is one within {_hours(bounds.backup_age_seconds_warn)}"
    return Finding(
        status,
        f"newest {kind} backup {name} is {_hours(age)} old; {promised}",
        None if status is CheckStatus.PASS else make,
        {"kind": kind, "backup": name, "age_seconds": round(age), "promised_seconds": bounds.backup_age_seconds_warn},
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
