"""Creates and lists AWS's backups of tables, Aurora and ElastiCache, and restores tables and Aurora clusters.

The module also lists the recovery points of AWS Backup.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from mjctl.clients.boto import RegionClients
from mjctl.models.backup import ManagedBackup
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

_BACKUP_POLLS, _BACKUP_PAUSE_SECONDS = 150, 2.0

TABLES, CLUSTER, CACHE, VAULT = "dynamodb", "rds", "elasticache", "backup"


def arn(item: ManagedBackup) -> str:
    """Return the ARN of a managed backup."""
    return str(item.detail["arn"])


async def cluster_of(contract: Contract, clients: RegionClients) -> str | None:
    """Return the identifier of the region's Aurora cluster, or None if the region has none, as on target `local`."""
    if contract.target == "local":
        return None
    answer = await clients.call_all("rds", "describe_db_clusters")
    for cluster in answer["DBClusters"]:
        if contract.database.host in (cluster.get("Endpoint"), cluster.get("ReaderEndpoint")):
            return str(cluster["DBClusterIdentifier"])
    return None


async def cache_of(contract: Contract, clients: RegionClients) -> str | None:
    """Return the id of the region's ElastiCache replication group, or None if the region has none."""
    if contract.target == "local":
        return None
    host = urlsplit(contract.cache.url).hostname
    answer = await clients.call_all("elasticache", "describe_replication_groups")
    for group in answer["ReplicationGroups"]:
        endpoints = [group.get("ConfigurationEndpoint"), *(node.get("PrimaryEndpoint") for node in group["NodeGroups"])]
        named = contract.cache.secret == f"iam:{group['ReplicationGroupId']}"
        if named or any(endpoint and endpoint.get("Address") == host for endpoint in endpoints):
            return str(group["ReplicationGroupId"])
    return None


async def back_up_table(clients: RegionClients, table: str, name: str, items: int) -> ManagedBackup:
    """Request a DynamoDB backup of a table. `back_up_table` does not wait until the backup is complete.

    Args:
        clients: The AWS clients of the region.
        table: The name of the table.
        name: The name of the backup.
        items: The number of items in the table. The count becomes a part of the backup's name, because DynamoDB keeps
            no exact count that a drill could compare: `ItemCount` is an approximation.
            https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_SourceTableDetails.html
    """
    answer = await clients.call("dynamodb", "create_backup", TableName=table, BackupName=f"{name}.n{items}")
    return _table_entry(table, answer["BackupDetails"])


async def await_table_backup(clients: RegionClients, backup_arn: str) -> None:
    """Wait until a table's backup can be restored.

    Raises:
        UnreachableError: the backup is not available after five minutes.
    """
    for _ in range(_BACKUP_POLLS):
        answer = await clients.call("dynamodb", "describe_backup", BackupArn=backup_arn)
        if answer["BackupDescription"]["BackupDetails"]["BackupStatus"] == "AVAILABLE":
            return
        await asyncio.sleep(_BACKUP_PAUSE_SECONDS)
    raise UnreachableError(
        f"DynamoDB had not finished the backup after {_BACKUP_POLLS * _BACKUP_PAUSE_SECONDS:g} s",
        where=backup_arn,
        hint="wait until DynamoDB has finished the backup, then repeat the command",
    )


async def table_backups(clients: RegionClients, table: str) -> list[ManagedBackup]:
    """List the DynamoDB backups of a table."""
    answer = await clients.call_all("dynamodb", "list_backups", TableName=table)
    return [_table_entry(table, item) for item in answer["BackupSummaries"]]


def _table_entry(table: str, item: dict[str, Any]) -> ManagedBackup:
    name, mark, items = item["BackupName"].rpartition(".n")
    if not (mark and items.isdecimal()):
        name, items = item["BackupName"], None
    detail = {
        "arn": item["BackupArn"],
        "type": item.get("BackupType"),
        "items": int(items) if items is not None else None,
    }
    size = item.get("BackupSizeBytes")
    return ManagedBackup(
        TABLES, table, name, item["BackupStatus"].lower(), item["BackupCreationDateTime"], size, detail
    )


async def table_window(clients: RegionClients, table: str) -> list[ManagedBackup]:
    """Return the range of times to which DynamoDB can restore the table (point-in-time recovery).

    The returned list has one entry, or none if the table's point-in-time recovery is disabled.
    """
    answer = await clients.call("dynamodb", "describe_continuous_backups", TableName=table)
    window = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if window.get("PointInTimeRecoveryStatus") != "ENABLED":
        return []
    detail = {
        "earliest": str(window.get("EarliestRestorableDateTime")),
        "latest": str(window.get("LatestRestorableDateTime")),
    }
    return [ManagedBackup(TABLES, table, "point-in-time", "enabled", None, None, detail)]


async def snapshot_cluster(clients: RegionClients, cluster: str, name: str) -> ManagedBackup:
    """Request a snapshot of an Aurora cluster. `snapshot_cluster` does not wait until the snapshot is complete."""
    answer = await clients.call(
        "rds", "create_db_cluster_snapshot", DBClusterIdentifier=cluster, DBClusterSnapshotIdentifier=name
    )
    return _cluster_entry(answer["DBClusterSnapshot"])


async def cluster_snapshots(clients: RegionClients, cluster: str) -> list[ManagedBackup]:
    """List the snapshots of an Aurora cluster."""
    answer = await clients.call_all("rds", "describe_db_cluster_snapshots", DBClusterIdentifier=cluster)
    return [_cluster_entry(item) for item in answer["DBClusterSnapshots"]]


def _cluster_entry(item: dict[str, Any]) -> ManagedBackup:
    return ManagedBackup(
        CLUSTER,
        item["DBClusterIdentifier"],
        item["DBClusterSnapshotIdentifier"],
        item["Status"],
        item.get("SnapshotCreateTime"),
        None,
        {"arn": item.get("DBClusterSnapshotArn"), "engine": item.get("Engine"), "type": item.get("SnapshotType")},
    )


async def snapshot_cache(clients: RegionClients, group: str, name: str) -> ManagedBackup:
    """Request a snapshot of an ElastiCache replication group.

    `snapshot_cache` does not wait until the snapshot is complete.
    """
    answer = await clients.call("elasticache", "create_snapshot", ReplicationGroupId=group, SnapshotName=name)
    return _cache_entry(group, answer["Snapshot"])


async def cache_snapshots(clients: RegionClients, group: str) -> list[ManagedBackup]:
    """List the snapshots of an ElastiCache replication group."""
    answer = await clients.call_all("elasticache", "describe_snapshots", ReplicationGroupId=group)
    return [_cache_entry(group, item) for item in answer["Snapshots"]]


def _cache_entry(group: str, item: dict[str, Any]) -> ManagedBackup:
    times = [node.get("SnapshotCreateTime") for node in item.get("NodeSnapshots", ()) if node.get("SnapshotCreateTime")]
    detail = {"arn": item.get("ARN"), "source": item.get("SnapshotSource")}
    return ManagedBackup(
        CACHE, group, item["SnapshotName"], item["SnapshotStatus"], min(times, default=None), None, detail
    )


async def recovery_points(clients: RegionClients, vault: str) -> list[ManagedBackup]:
    """List the recovery points of AWS Backup in a vault."""
    answer = await clients.call_all("backup", "list_recovery_points_by_backup_vault", BackupVaultName=vault)
    return [
        ManagedBackup(
            VAULT,
            item["ResourceArn"],
            item["RecoveryPointArn"].rsplit(":", 1)[-1],
            item["Status"].lower(),
            item["CreationDate"],
            item.get("BackupSizeInBytes"),
            {"arn": item["RecoveryPointArn"], "vault": vault, "key": item.get("EncryptionKeyArn")},
        )
        for item in answer["RecoveryPoints"]
    ]


async def restore_table(clients: RegionClients, backup_arn: str, target: str) -> None:
    """Request the restore of a DynamoDB backup into the new table `target`."""
    await clients.call("dynamodb", "restore_table_from_backup", TargetTableName=target, BackupArn=backup_arn)


async def restore_table_to(clients: RegionClients, source: str, target: str, moment: datetime) -> None:
    """Request the restore of the table `source`, as it was at `moment`, into the new table `target`."""
    await clients.call(
        "dynamodb",
        "restore_table_to_point_in_time",
        SourceTableName=source,
        TargetTableName=target,
        RestoreDateTime=moment,
    )


async def restore_cluster_to(clients: RegionClients, source: str, target: str, moment: datetime) -> None:
    """Request the restore of the Aurora cluster `source`, as it was at `moment`, into the new cluster `target`."""
    await clients.call(
        "rds",
        "restore_db_cluster_to_point_in_time",
        SourceDBClusterIdentifier=source,
        DBClusterIdentifier=target,
        RestoreToTime=moment,
    )


async def restore_cluster(clients: RegionClients, item: ManagedBackup, target: str) -> None:
    """Request the restore of a cluster's snapshot into the new Aurora cluster `target`."""
    await clients.call(
        "rds",
        "restore_db_cluster_from_snapshot",
        DBClusterIdentifier=target,
        SnapshotIdentifier=item.backup_id,
        Engine=str(item.detail.get("engine") or "aurora-postgresql"),
    )
