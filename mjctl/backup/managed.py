"""What AWS keeps by itself: on-demand backups and point-in-time windows of tables, snapshots of cluster and cache, and
recovery points in the vault.

What is made here is called `mjctl-<id>`, the same for all parts of one run; only that is pruned here, everything else
ends by the retention of its vault, table or cluster. A region without a part (`local` has neither Aurora nor
ElastiCache) has no backup of it.
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
# DynamoDB restores small tables in minutes and large ones in an hour or more.
_RESTORE_SECONDS = 5_400.0
# Items of a copy that are compared with the live table's.
_SAMPLE = 200


@dataclass(frozen=True)
class ManagedRestore:
    """One restore that AWS was asked for. `source`: a backup's ARN or id, or the moment."""

    service: str
    source: str
    target: str


async def create(contract: Contract, *, dry_run: bool = False) -> list[ManagedBackup]:
    """Have AWS back up every table, the cluster and the cache now; with `dry_run` only say of what."""
    name = PREFIX + new_backup_id().lower()
    with backup_clients(contract) as clients:
        cluster, group = await asyncio.gather(
            snapshots.cluster_of(contract, clients), snapshots.cache_of(contract, clients)
        )
        if dry_run:
            parts = [(snapshots.TABLES, table.name) for table in contract.tables.values()]
            parts += [
                (service, found) for service, found in ((snapshots.CLUSTER, cluster), (snapshots.CACHE, group)) if found
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
    """Everything that AWS keeps of this region's parts, the oldest first; windows for point-in-time recovery last."""
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
        found = [item for items in await first_error(work) for item in items]
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda item: (item.created_at or last, item.service, item.resource))


async def restore(
    contract: Contract, backup: str, into: str, moment: datetime | None, *, dry_run: bool = False
) -> list[ManagedRestore]:
    """Restore tables (and the cluster) into new ones called after `into`: from the backups `backup` of one run
    (`latest`: the newest), or as of `moment`.

    A cluster is restored without instances; adding one, and pointing the stack at it, is a person's decision.

    Raises:
        NotFoundError: there is no such backup. UsageError: `into` is no name. ConflictError: the copy is there.
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
    """The runs of `create` as retention looks at them: complete when all parts of the run are available."""
    runs: dict[str, list[ManagedBackup]] = defaultdict(list)
    for item in await list_backups(contract):
        if _run_id(item.backup_id) is not None and item.service != snapshots.VAULT:
            runs[item.backup_id].append(item)
    return [_entry(name, items) for name, items in runs.items()]


async def plan_prune(contract: Contract, policy: RetentionPolicy) -> PrunePlan:
    """Which of the runs would stay. Reads only."""
    return retention.plan(await entries(contract), policy, knows_writers=False)


async def prune(contract: Contract, plan: PrunePlan) -> dict[str, Any]:
    """Do it; `{"removed": [names], "freed_bytes": int}`, of tables only: AWS tells no size of snapshots."""
    names = [entry.backup_id for entry in plan.removed]
    await remove(contract, names)
    return {"removed": names, "freed_bytes": sum(entry.size_bytes for entry in plan.removed)}


async def remove(contract: Contract, names: Sequence[str]) -> None:
    """Remove these runs' backups and snapshots."""
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
    """Restore the table backups of one run (`latest`: the newest) into a scratch copy, compare, check and remove it.

    A table is proven if the copy holds as many items as were counted when the backup was made, and a sample of the
    copy's items equals the live table's. A snapshot of the cluster or of the cache is not restored: nothing outside the
    VPC can count what is in it. The report names those as not proven.

    Args:
        kinds: What the drill has to prove. Other parts of the backup are left out without a word.

    Raises:
        NotFoundError: there is no such managed backup.
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
            # At the same time: AWS takes minutes for a table, however small it is.
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
    """The parts that the drill was asked to prove and has no means to."""
    services = {item.service for item in run}
    parts: list[str] = []
    if Kind.DATABASE in kinds and (snapshots.CLUSTER in services or contract.database.access == "private"):
        parts.append("database")
    if Kind.TABLE in kinds:
        backed_up = {item.resource for item in chosen}
        parts += [
            f"table/{key}: the run has no backup of it"
            for key, table in contract.tables.items()
            if table.name not in backed_up
        ]
        parts += [
            f"{item.resource}: the backup does not say how many items it holds"
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
    found, live, sample = await asyncio.gather(
        tables.count(clients, copy.table(key)),
        tables.count(clients, item.resource),
        tables.sample(clients, copy.table(key), _SAMPLE),
    )
    same = await tables.same_as(clients, item.resource, schema, sample)
    # AWS restores no expiry; it is set again as on the live table, after the count.
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
        found=found or 0,
        equal=_as_counted(expected, live or 0, found or 0) and _sample_fits(len(sample), same, found or 0),
        seconds=time.perf_counter() - started,
        sampled=len(sample),
        same=same,
    )


def _as_counted(expected: int | None, live: int, found: int) -> bool:
    """Whether a copy of `found` items fits a table that held `expected` shortly before its backup, and `live` now.

    A table that has not changed in number must be restored exactly. One that has held a number in between when AWS took
    the backup; a hundredth more or less allows for items that came and went meanwhile.
    """
    if expected is None or expected == live:
        return found == live
    slack = max(expected, live) // 100
    return min(expected, live) - slack <= found <= max(expected, live) + slack


def _sample_fits(sampled: int, same: int, found: int) -> bool:
    """Whether enough of the copy's items equal the live ones. Players change some between the backup and the drill."""
    if not sampled:
        return found == 0
    return 2 * same >= sampled


def _run_of(found: Sequence[ManagedBackup], wanted: str, contract: Contract) -> list[ManagedBackup]:
    """The parts of one run of `create`."""
    runs = [item for item in found if _run_id(item.backup_id) is not None]
    names = sorted({item.backup_id for item in runs})
    name = names[-1] if wanted == "latest" and names else wanted
    chosen = [item for item in runs if item.backup_id == name]
    if not chosen:
        raise NotFoundError(
            f"no managed backup `{wanted}`",
            where=f"{contract.environment}, {contract.region}",
            hint=f"the newest: {', '.join(names[-5:])}" if names else "`mjctl backup create --kind managed` makes one",
        )
    return chosen


def _run_id(name: str) -> str | None:
    """The id in the name of what `create` made; None for a backup of another origin."""
    backup_id = name.removeprefix(PREFIX)
    stamp, _, end = backup_id.partition("-")
    backup_id = f"{stamp.upper()}-{end}"
    return backup_id if name.startswith(PREFIX) and is_backup_id(backup_id) else None


# While AWS makes a part. DynamoDB: CREATING, RDS and ElastiCache: creating; ElastiCache also exports and copies.
_UNDER_WAY = frozenset({"creating", "pending", "copying", "exporting"})


def _entry(name: str, items: Sequence[ManagedBackup]) -> BackupEntry:
    """One run of `create`. AWS gives a snapshot its date when it is done, so a run may have none yet."""
    begun = created_at_of(str(_run_id(name)))
    dates = [item.created_at for item in items if item.created_at is not None] or [begun]
    states = {item.state.lower() for item in items}
    if states == {"available"}:
        state, problem = BackupState.COMPLETE, None
    elif states <= {"available"} | _UNDER_WAY:
        state, problem = BackupState.IN_PROGRESS, "AWS is still making a part of it"
    else:
        state, problem = BackupState.DAMAGED, "not every part of it is available"
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
