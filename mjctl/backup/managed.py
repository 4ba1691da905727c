"""Makes, lists, restores and prunes managed backups, which AWS makes and keeps.

There are three sorts of managed backups:

- on-demand backups and point-in-time recovery windows of tables,
- snapshots of the database cluster and of the cache,
- recovery points in the vault of AWS Backup.

All backups of one run of `create` have the name `mjctl-<id>`. `prune` removes only backups and snapshots that `create`
made. AWS removes recovery points, recovery windows and automatic snapshots by their own retention. A `local` region has
no Aurora cluster and no ElastiCache, and so no managed backups of database and cache.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mjctl.backup import retention, tables
from mjctl.backup.create import backup_clients
from mjctl.backup.destination import Destination
from mjctl.backup.streams import first_error
from mjctl.clients import snapshots
from mjctl.clients.boto import RegionClients
from mjctl.models.backup import (
    BackupEntry,
    BackupState,
    Comparison,
    DrillReport,
    Kind,
    ManagedBackup,
    PrunePlan,
    RetentionPolicy,
    created_at_of,
    is_backup_id,
    new_backup_id,
)
from mjctl.models.check import CheckResult
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError

PREFIX = "mjctl-"
# Time limit of 90 minutes for DynamoDB's restore of a table in a drill. DynamoDB takes minutes for a small table and
# more than an hour for a large table.
_RESTORE_SECONDS = 5_400.0
# Number of items of a restored table that a drill compares with the items of the live table.
_SAMPLE = 200


@dataclass(frozen=True)
class ManagedRestore:
    """Describes a restore of one table or cluster by AWS.

    Attributes:
        service: `dynamodb` or another service name of `mjctl.clients.snapshots`.
        source: ARN of a table's backup, id of a cluster's snapshot, or the moment in ISO 8601 for a point-in-time
            recovery.
        target: name of the new table or cluster.
    """

    service: str
    source: str
    target: str


async def create(contract: Contract, *, dry_run: bool = False) -> list[ManagedBackup]:
    """Start a backup by AWS of all tables, of the database cluster and of the cache.

    Args:
        dry_run: True to make no backup, and only list the backups that would be made, with the state `planned`.
    """
    name = PREFIX + new_backup_id().lower()
    with backup_clients(contract) as clients:
        cluster, group = await asyncio.gather(
            snapshots.cluster_of(contract, clients), snapshots.cache_of(contract, clients)
        )
        if dry_run:
            parts = [(snapshots.TABLES, table.name) for table in contract.tables.values()]
            parts += [
                (service, resource)
                for service, resource in ((snapshots.CLUSTER, cluster), (snapshots.CACHE, group))
                if resource
            ]
            return [ManagedBackup(service, resource, name, "planned", None) for service, resource in parts]
        work: list[Awaitable[ManagedBackup]] = [
            _back_up_table(clients, table.name, name) for table in contract.tables.values()
        ]
        if cluster:
            work.append(snapshots.snapshot_cluster(clients, cluster, name))
        if group:
            work.append(snapshots.snapshot_cache(clients, group, name))
        return await first_error(work)


async def _back_up_table(clients: RegionClients, table: str, name: str) -> ManagedBackup:
    return await snapshots.back_up_table(clients, table, name, await tables.count(clients, table) or 0)


async def list_backups(contract: Contract) -> list[ManagedBackup]:
    """List all managed backups of a region, the oldest first. Backups without a date come last."""
    with backup_clients(contract) as clients:
        cluster, group = await asyncio.gather(
            snapshots.cluster_of(contract, clients), snapshots.cache_of(contract, clients)
        )
        work: list[Awaitable[list[ManagedBackup]]] = [
            *(snapshots.table_backups(clients, table.name) for table in contract.tables.values()),
            *(snapshots.table_window(clients, table.name) for table in contract.tables.values()),
        ]
        if cluster:
            work.append(snapshots.cluster_snapshots(clients, cluster))
        if group:
            work.append(snapshots.cache_snapshots(clients, group))
        if contract.backup.vault_name:
            work.append(snapshots.recovery_points(clients, contract.backup.vault_name))
        backups = [item for items in await first_error(work) for item in items]
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(backups, key=lambda item: (item.created_at or last, item.service, item.resource))


async def restore(
    contract: Contract, backup: str, into: str, moment: datetime | None, *, dry_run: bool = False
) -> list[ManagedRestore]:
    """Restore the tables and the database cluster into new tables and a new cluster.

    A restored database cluster has no instances: before the game can use it, an operator must add an instance to the
    cluster and change the stack.

    Args:
        backup: name of a run of `create`, or `latest` for the newest run of `create`; ignored if `moment` is given.
        into: name of the scratch copy, which the names of the new tables and of the new cluster contain.
        moment: the moment whose state a point-in-time recovery restores; None to restore the backups of the run
            `backup`.
        dry_run: True to start no restore, and only return the restores that would be started.

    Raises:
        NotFoundError: no run of `create` has the name `backup`.
        UsageError: `into` is not a valid name of a scratch copy.
        ConflictError: a table or cluster with a name of the scratch copy already exists.
    """
    with backup_clients(contract) as clients:
        copy = Destination(contract, clients, into)
        by_table = {table.name: key for key, table in contract.tables.items()}
        cluster = await snapshots.cluster_of(contract, clients)
        new_cluster = f"{contract.project}-{contract.environment}-scratch-{into}"
        if moment is not None:
            at = moment.astimezone(UTC).isoformat()
            planned = [ManagedRestore(snapshots.TABLES, at, copy.table(key)) for key in contract.tables]
            planned += [ManagedRestore(snapshots.CLUSTER, at, new_cluster)] if cluster else []
            if not dry_run:
                work = [
                    snapshots.restore_table_to(clients, table.name, copy.table(key), moment)
                    for key, table in contract.tables.items()
                ]
                await first_error(
                    [*work, *([snapshots.restore_cluster_to(clients, cluster, new_cluster, moment)] if cluster else [])]
                )
            return planned
        run = _run_of(await list_backups(contract), backup, contract)
        chosen = [item for item in run if item.service == snapshots.TABLES and item.resource in by_table]
        cluster_snapshots = [item for item in run if item.service == snapshots.CLUSTER]
        planned = [
            ManagedRestore(snapshots.TABLES, snapshots.arn(item), copy.table(by_table[item.resource]))
            for item in chosen
        ]
        planned += [ManagedRestore(snapshots.CLUSTER, item.backup_id, new_cluster) for item in cluster_snapshots]
        if not dry_run:
            await first_error(
                [
                    *(
                        snapshots.restore_table(clients, snapshots.arn(item), copy.table(by_table[item.resource]))
                        for item in chosen
                    ),
                    *(snapshots.restore_cluster(clients, item, new_cluster) for item in cluster_snapshots),
                ]
            )
        return planned


async def entries(contract: Contract) -> list[BackupEntry]:
    """Return the runs of `create` as entries for a retention plan.

    A run of `create` is complete when all backups and snapshots of the run are available.
    """
    runs: dict[str, list[ManagedBackup]] = defaultdict(list)
    for item in await list_backups(contract):
        if _run_id(item.backup_id) is not None and item.service != snapshots.VAULT:
            runs[item.backup_id].append(item)
    return [_entry(name, items) for name, items in runs.items()]


async def plan_prune(contract: Contract, policy: RetentionPolicy) -> PrunePlan:
    """Decide which runs of `create` to keep and which to remove, without removing a run."""
    return retention.plan(await entries(contract), policy, knows_writers=False)


async def prune(contract: Contract, plan: PrunePlan) -> dict[str, Any]:
    """Remove the DynamoDB backups and the snapshots of all runs that `plan` removes.

    Returns:
        `{"removed": [names], "freed_bytes": int}`. `freed_bytes` includes backups of tables only, because AWS reports
        no size of snapshots.
    """
    names = [entry.backup_id for entry in plan.removed]
    await remove(contract, names)
    return {"removed": names, "freed_bytes": sum(entry.size_bytes for entry in plan.removed)}


async def remove(contract: Contract, names: Sequence[str]) -> None:
    """Remove the DynamoDB backups, and the snapshots of database and cache, that the runs `names` of `create` made."""
    with backup_clients(contract) as clients:
        for item in await list_backups(contract):
            if item.backup_id not in names or _run_id(item.backup_id) is None:
                continue
            if item.service == snapshots.TABLES:
                await clients.call("dynamodb", "delete_backup", BackupArn=snapshots.arn(item))
            elif item.service == snapshots.CLUSTER:
                await clients.call("rds", "delete_db_cluster_snapshot", DBClusterSnapshotIdentifier=item.backup_id)
            elif item.service == snapshots.CACHE:
                await clients.call("elasticache", "delete_snapshot", SnapshotName=item.backup_id)


async def drill(
    contract: Contract,
    wanted: str,
    run_checks: Callable[[Contract], Awaitable[Sequence[CheckResult]]],
    kinds: Collection[Kind] = tuple(Kind),
) -> DrillReport:
    """Restore the table backups of one run of `create` into a scratch copy, check the copy and remove the copy.

    The drill proves a table if two conditions are met:

    - The number of items in the copy fits the number of items that mjctl counted before the backup (see `_as_counted`).
    - At least half of the items in a sample of the copy are equal to items of the live table.

    A snapshot of the database cluster or the cache is not restored, because no program outside the VPC can read a
    restored cluster or cache. The report lists the database and the cache as not proven.

    Args:
        wanted: name of a run of `create`, or `latest` for the newest run.
        run_checks: runs health checks on the copy.
        kinds: the kinds of stores that the drill must prove; the report does not mention other kinds of stores.

    Raises:
        NotFoundError: no run of `create` has the name `wanted`.
    """
    started = time.perf_counter()
    with backup_clients(contract) as clients:
        copy = Destination(contract, clients, f"drill-{secrets.token_hex(4)}")
        run = _run_of(await list_backups(contract), wanted, contract)
        by_table = {table.name: key for key, table in contract.tables.items()}
        chosen = [
            item
            for item in run
            if item.service == snapshots.TABLES and item.resource in by_table and Kind.TABLE in kinds
        ]
        compared: Sequence[Comparison] = ()
        checks: Sequence[CheckResult] = ()
        error: str | None = None
        try:
            # Restore all tables at the same time, because DynamoDB takes minutes to restore even a small table.
            compared = await first_error([_rehearse(clients, item, by_table[item.resource], copy) for item in chosen])
            scratch = {
                key: contract.tables[key].model_copy(update={"name": copy.table(key)})
                for key in (by_table[item.resource] for item in chosen)
            }
            checks = await run_checks(contract.model_copy(update={"tables": scratch}))
        except MjctlError as failure:
            error = str(failure)
        finally:
            await copy.tidy()
    return DrillReport(
        backup_id=run[0].backup_id,
        scratch=copy.scratch or "",
        comparisons=tuple(compared),
        checks=tuple(checks),
        removed=True,
        error=error,
        seconds={"total": round(time.perf_counter() - started, 3)},
        not_proven=_not_proven(run, chosen, contract, kinds),
    )


def _not_proven(
    run: Sequence[ManagedBackup], chosen: Sequence[ManagedBackup], contract: Contract, kinds: Collection[Kind]
) -> tuple[str, ...]:
    """Return the stores and tables that a drill had to prove and could not prove."""
    services = {item.service for item in run}
    parts: list[str] = []
    if Kind.DATABASE in kinds and (snapshots.CLUSTER in services or contract.database.access == "private"):
        parts.append("database")
    if Kind.TABLE in kinds:
        backed_up = {item.resource for item in chosen}
        parts += [
            f"table/{key}: this run of `mjctl backup create` has no backup of the table"
            for key, table in contract.tables.items()
            if table.name not in backed_up
        ]
        parts += [
            f"{item.resource}: the backup does not record how many items it contains"
            for item in chosen
            if item.detail.get("items") is None
        ]
    if Kind.CACHE in kinds and (snapshots.CACHE in services or contract.cache.access != "direct"):
        parts.append("cache")
    return tuple(parts)


async def _rehearse(clients: RegionClients, item: ManagedBackup, key: str, copy: Destination) -> Comparison:
    started = time.perf_counter()
    await snapshots.await_table_backup(clients, snapshots.arn(item))
    await snapshots.restore_table(clients, snapshots.arn(item), copy.table(key))
    await tables.await_active(clients, copy.table(key), timeout_seconds=_RESTORE_SECONDS)
    schema = await tables.describe(clients, item.resource)
    restored, live, sample = await asyncio.gather(
        tables.count(clients, copy.table(key)),
        tables.count(clients, item.resource),
        tables.sample(clients, copy.table(key), _SAMPLE),
    )
    same = await tables.same_as(clients, item.resource, schema, sample)
    # DynamoDB restores a table without its time to live. Set the time to live only after the items are counted, so that
    # no item expires before the count.
    await tables.set_expiry(clients, copy.table(key), schema)
    counted = item.detail.get("items")
    expected = counted if isinstance(counted, int) else None
    return Comparison(
        kind=Kind.TABLE,
        name=key,
        target=copy.table(key),
        archived=expected if expected is not None else live or 0,
        expired=0,
        expiring=0,
        durable=expected if expected is not None else live or 0,
        restored=restored or 0,
        equal=_as_counted(expected, live or 0, restored or 0) and _sample_matches(len(sample), same, restored or 0),
        seconds=time.perf_counter() - started,
        sampled=len(sample),
        same=same,
    )


def _as_counted(expected: int | None, live: int, restored: int) -> bool:
    """Return whether the number of items in a restored table is plausible.

    If `expected` equals `live`, the restored table must have exactly `live` items. If `expected` differs from `live`,
    the restored table's number of items must lie between `expected` and `live`. A tolerance of one percent beyond
    `expected` and `live` allows for items that were added and removed between backup and drill.

    Args:
        expected: number of items that mjctl counted shortly before the backup; None if the backup does not record this
            number. With None, the restored table must have `live` items.
        live: number of items in the live table now.
        restored: number of items in the restored table.
    """
    if expected is None or expected == live:
        return restored == live
    slack = max(expected, live) // 100
    return min(expected, live) - slack <= restored <= max(expected, live) + slack


def _sample_matches(sampled: int, same: int, restored: int) -> bool:
    """Return whether at least half of the sampled items of a restored table equal items of the live table.

    Not all items need to be equal, because players change items between backup and drill. If the sample of the restored
    table is empty, the restored table must be empty too.
    """
    if not sampled:
        return restored == 0
    return 2 * same >= sampled


def _run_of(backups: Sequence[ManagedBackup], wanted: str, contract: Contract) -> list[ManagedBackup]:
    """Return the backups and snapshots of the run `wanted` of `create`."""
    runs = [item for item in backups if _run_id(item.backup_id) is not None]
    names = sorted({item.backup_id for item in runs})
    name = names[-1] if wanted == "latest" and names else wanted
    chosen = [item for item in runs if item.backup_id == name]
    if not chosen:
        raise NotFoundError(
            f"no managed backup `{wanted}`",
            where=f"{contract.environment}, {contract.region}",
            hint=f"the newest managed backups: {', '.join(names[-5:])}"
            if names
            else "`mjctl backup create --kind managed` makes a backup",
        )
    return chosen


def _run_id(name: str) -> str | None:
    """Return the id in the name `mjctl-<id>` of a backup that `create` made; None for the name of any other backup."""
    backup_id = name.removeprefix(PREFIX)
    stamp, _, end = backup_id.partition("-")
    backup_id = f"{stamp.upper()}-{end}"
    return backup_id if name.startswith(PREFIX) and is_backup_id(backup_id) else None


# The states of an unfinished backup of AWS, in lower case. DynamoDB reports CREATING, RDS reports creating, and
# ElastiCache reports creating, exporting or copying.
_UNDER_WAY = frozenset({"creating", "pending", "copying", "exporting"})


def _entry(name: str, items: Sequence[ManagedBackup]) -> BackupEntry:
    """Return a run of `create`, with its backups and snapshots `items`, as an entry for a retention plan.

    AWS sets the date of a snapshot only when the snapshot is complete. If AWS has set no date on any backup of
    this run of `create`, the returned entry has the date that the run's id contains.
    """
    begun = created_at_of(str(_run_id(name)))
    dates = [item.created_at for item in items if item.created_at is not None] or [begun]
    states = {item.state.lower() for item in items}
    if states == {"available"}:
        state, problem = BackupState.COMPLETE, None
    elif states <= {"available"} | _UNDER_WAY:
        state, problem = BackupState.IN_PROGRESS, "AWS has not finished all backups and snapshots of this run"
    else:
        state, problem = BackupState.DAMAGED, "not all backups and snapshots of this run are available"
    return BackupEntry(
        backup_id=name,
        state=state,
        size_bytes=sum(item.size_bytes or 0 for item in items),
        objects=tuple(f"{item.service}/{item.resource}" for item in items),
        created_at=min(dates),
        last_written_at=max(dates),
        in_use=state is BackupState.IN_PROGRESS,
        problem=problem,
    )
