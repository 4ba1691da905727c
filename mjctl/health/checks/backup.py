"""Checks that each data store has a usable backup that is younger than the environment's recovery point objective."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mjctl.backup.catalog import newest_backup
from mjctl.clients.backup_keys import BackupKeyring
from mjctl.clients.objects import open_store
from mjctl.clients.snapshots import recovery_points
from mjctl.health.model import AWS_CHECK_SECONDS, Check, Finding, RegionContext, failed, graded, warned
from mjctl.models.backup import Kind, Manifest
from mjctl.models.check import CheckStatus
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError

_REGION = "the region"


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check `backup`, if the contract names a folder, a bucket or a vault for backups."""
    if contract.backup.directory or contract.backup.bucket or contract.backup.vault_name:
        yield Check("backup", check_backup, AWS_CHECK_SECONDS)


@dataclass(frozen=True, order=True)
class _Copy:
    """Describes a backup of `resource` that can be decrypted and restored. Backups are ordered by `created_at`."""

    created_at: datetime
    kind: str
    name: str
    resource: str


async def check_backup(context: RegionContext) -> Finding:
    """Check that each data store has a backup that is recent and can be decrypted.

    Portable backups and recovery points of AWS Backup count equally. A portable backup counts for the data stores that
    it contains. A backup whose encryption key cannot be used does not count.
    """
    contract = context.contract
    make = f"`mjctl backup create --env {contract.environment} --region {contract.region}` makes a backup"
    if vault := contract.backup.vault_name:
        jobs = f"`aws backup list-backup-jobs --by-backup-vault-name {vault} --region {contract.region}`"
        make = f"AWS Backup makes the backups on a schedule: {jobs} shows failed jobs and their reasons"
    keyring = BackupKeyring(contract, context.clients)
    (portable, closed), (points, locked) = await asyncio.gather(
        _newest_portable(context, keyring), _recovery_points(context, keyring)
    )
    resources = _protected(contract) or (_REGION,)
    newest: dict[str, _Copy] = {}
    for resource in resources:
        copies = [copy for copy in points + portable if resource in (_REGION, copy.resource)]
        if copies:
            newest[resource] = max(copies)
    unusable = closed + locked
    evidence: dict[str, object] = {
        "promised_seconds": context.thresholds.backup_age_seconds_warn,
        "resources": len(newest),
        "missing": [_short(resource) for resource in resources if resource not in newest],
        "cannot_be_opened": unusable,
    }
    missing = [resource for resource in resources if resource not in newest]
    if missing:
        return await _missing(context, missing, unusable, make, evidence)
    oldest = min(newest.values())
    resource = next(name for name, copy in newest.items() if copy == oldest)
    age = (datetime.now(UTC) - oldest.created_at).total_seconds()
    evidence |= {"kind": oldest.kind, "backup": oldest.name, "age_seconds": round(age)}
    bounds = context.thresholds
    status = graded(age, warn=bounds.backup_age_seconds_warn, fail=bounds.backup_age_seconds_fail)
    of = f" of {_short(resource)}" if len(newest) > 1 else ""
    return Finding(
        _for_target(contract, status),
        f"the newest backup{of} is {_hours(age)} old, {_due(bounds.backup_age_seconds_warn)}: {oldest.kind} backup "
        f"{oldest.name}",
        None if status is CheckStatus.PASS else make,
        evidence,
    )


async def _missing(
    context: RegionContext, missing: list[str], unusable: list[str], make: str, evidence: dict[str, object]
) -> Finding:
    """Return the finding for data stores that have no usable backup.

    The finding is a warning in a local region, or while all data stores without a backup are younger than the recovery
    point objective. If a data store without a backup is older than the recovery point objective, and the region is not
    local, the finding is a failure.
    """
    contract = context.contract
    usable = " that can be decrypted" if unusable else ""
    reasons = f": {'; '.join(unusable)}" if unusable else ""
    of = "" if missing == [_REGION] else f" of {', '.join(map(_short, missing))}"
    objective = context.thresholds.backup_age_seconds_warn
    ages = await asyncio.gather(*(_age_seconds(context, resource) for resource in missing))
    # A data store of unknown age may be old, so its missing backup counts as overdue.
    left = min((objective - age if age is not None else 0.0) for age in ages)
    evidence["due_in_seconds"] = round(left)
    if left > 0:
        return warned(
            f"no backup{of}{usable} yet, the first backup is due within {_hours(left)}{reasons}", hint=make, **evidence
        )
    late = f"no backup{of}{usable}, {_due(objective)}{reasons}"
    if _for_target(contract, CheckStatus.FAIL) is CheckStatus.FAIL:
        return failed(late, hint=make, **evidence)
    return warned(late, hint=make, **evidence)


def _due(objective_seconds: float) -> str:
    return f"a backup is due every {_hours(objective_seconds)}"


def _for_target(contract: Contract, status: CheckStatus) -> CheckStatus:
    """Return WARN instead of FAIL for a local region, because no players depend on its backups."""
    if contract.target == "local" and status is CheckStatus.FAIL:
        return CheckStatus.WARN
    return status


def _protected(contract: Contract) -> tuple[str, ...]:
    """Return the ARNs of the tables and of the database cluster, which AWS Backup backs up; () for a local region."""
    if contract.managed is None:
        return ()
    cluster = f"arn:aws:rds:{contract.region}:{contract.aws.account_id}:cluster:{contract.managed.database_cluster}"
    return (*(table.arn for table in contract.tables.values()), cluster)


async def _age_seconds(context: RegionContext, resource: str) -> float | None:
    """Return the seconds since AWS created the data store `resource`, or None if AWS does not report the time.

    If `resource` stands for the whole region, return the age of the region's oldest table.

    CreationDateTime: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
    ClusterCreateTime: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBCluster.html
    """
    contract, clients = context.contract, context.clients
    names = [table.name for table in contract.tables.values() if resource in (_REGION, table.arn)]
    creation_times: list[datetime | None] = []
    try:
        if names:
            answers = await asyncio.gather(
                *(clients.call("dynamodb", "describe_table", TableName=name) for name in names)
            )
            creation_times = [answer["Table"].get("CreationDateTime") for answer in answers]
        else:
            cluster = resource.rsplit(":", 1)[-1]
            answer = await clients.call_all("rds", "describe_db_clusters", DBClusterIdentifier=cluster)
            creation_times = [item.get("ClusterCreateTime") for item in answer["DBClusters"]]
    except NotFoundError:
        return None
    known = [moment for moment in creation_times if moment is not None]
    return (datetime.now(UTC) - min(known)).total_seconds() if known else None


async def _newest_portable(context: RegionContext, keyring: BackupKeyring) -> tuple[list[_Copy], list[str]]:
    """Return a copy for each data store in the newest portable backup, or the reason why it cannot be decrypted."""
    contract = context.contract
    if not (contract.backup.directory or contract.backup.bucket):
        return [], []
    entry = await newest_backup(open_store(contract, context.clients))
    if entry is None or entry.signed is None:
        return [], []
    problem = await keyring.problem(entry.signed.keys)
    if problem is not None:
        return [], [f"{entry.backup_id}: {problem}"]
    contained = _contained(contract, entry.signed.manifest)
    return [_Copy(entry.created_at, "portable", entry.backup_id, resource) for resource in contained], []


def _contained(contract: Contract, manifest: Manifest) -> list[str]:
    """Return the ARNs in `_protected` of the data stores that a portable backup contains; _REGION for a local region.

    A backup that `--only table` made contains no database.
    """
    if contract.managed is None:
        return [_REGION]
    *_, cluster = _protected(contract)
    tables = {table.arn for key, table in contract.tables.items() if key in _names(manifest, Kind.TABLE)}
    return [*tables, *([cluster] if _names(manifest, Kind.DATABASE) else [])]


def _names(manifest: Manifest, kind: Kind) -> set[str]:
    return {part.name for part in manifest.parts if part.kind is kind}


async def _recovery_points(context: RegionContext, keyring: BackupKeyring) -> tuple[list[_Copy], list[str]]:
    """Return the recovery points that can be decrypted, and a line with the reason for each key that cannot be used."""
    vault = context.contract.backup.vault_name
    points = await recovery_points(context.clients, vault) if vault else []
    ready = [point for point in points if point.state == "completed" and point.created_at is not None]
    keys = sorted({str(point.detail["key"]) for point in ready if point.detail.get("key")})
    problems = dict(zip(keys, await asyncio.gather(*map(keyring.key_problem, keys)), strict=True))
    usable = [
        _Copy(point.created_at, "managed", point.backup_id, point.resource)
        for point in ready
        if point.created_at is not None and problems.get(str(point.detail.get("key"))) is None
    ]
    return usable, [f"recovery points in {vault}: {problem}" for problem in problems.values() if problem is not None]


def _short(resource: str) -> str:
    return resource.rsplit(":", 1)[-1]


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
