"""Tests managed backups with boto3's real client against the emulated AWS.

The emulated AWS cannot restore a database cluster or a recovery point. The point-in-time recovery of the emulated AWS
restores the present data instead of earlier data.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from mjctl.clients import snapshots
from mjctl.models.backup import ManagedBackup, new_backup_id
from mjctl.models.contract import Backup, Contract
from tests.integration.mjctl.backup.conftest import ITEMS, BackupCommand, Region

MANAGED = ("--kind", "managed")


def client(region: Region, service: str) -> Any:
    return boto3.client(service, endpoint_url=region.contract.aws.endpoint_url, region_name=region.contract.region)


@pytest.fixture
def on_aws(backup: BackupCommand, region: Region) -> Iterator[Region]:
    """Yield the region with an Aurora cluster, a replication group and a vault, as on AWS."""
    name = region.settings.environment
    rds, elasticache = client(region, "rds"), client(region, "elasticache")
    cluster = rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        EngineVersion="16.8",
        MasterUsername="game",
        MasterUserPassword="only-for-this-test",
    )["DBCluster"]
    elasticache.create_replication_group(
        ReplicationGroupId=name, ReplicationGroupDescription="cache", Engine="valkey", CacheNodeType="cache.t4g.small"
    )
    client(region, "backup").create_backup_vault(BackupVaultName=name)
    contract = region.contract
    region.contract = contract.model_copy(
        update={
            "target": "aws",
            "database": contract.database.model_copy(update={"host": cluster["Endpoint"]}),
            "cache": contract.cache.model_copy(update={"secret": f"iam:{name}"}),
            "backup": Backup(vault_name=name),
        }
    )
    backup.contracts = {contract.region: region.contract}
    yield region
    for snapshot in rds.describe_db_cluster_snapshots(DBClusterIdentifier=name)["DBClusterSnapshots"]:
        rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot["DBClusterSnapshotIdentifier"])
    rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
    elasticache.delete_replication_group(ReplicationGroupId=name)


def test_every_part_is_backed_up_under_one_name(backup: BackupCommand, on_aws: Region) -> None:
    planned = backup.json("create", *MANAGED, "--dry-run")["regions"][0]["backups"]
    assert backup.json("list", *MANAGED)["regions"][0]["backups"] == []
    created = backup.json("create", *MANAGED)["regions"][0]["backups"]
    parts = [(item["service"], item["resource"]) for item in created]
    assert parts == [(item["service"], item["resource"]) for item in planned]
    assert [service for service, _ in parts] == [*["dynamodb"] * 4, "rds", "elasticache"]
    (name,) = {item["backup_id"] for item in created}
    table = on_aws.contract.tables["matches"].name
    summaries = client(on_aws, "dynamodb").list_backups(TableName=table)["BackupSummaries"]
    assert [item["BackupName"] for item in summaries] == [f"{name}.n0"], "with the number of items"
    snapshots = client(on_aws, "rds").describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)
    assert len(snapshots["DBClusterSnapshots"]) == 1
    assert len(client(on_aws, "elasticache").describe_snapshots(SnapshotName=name)["Snapshots"]) == 1


def test_prune_keeps_backups_that_mjctl_did_not_make(backup: BackupCommand, on_aws: Region) -> None:
    table = on_aws.contract.tables["matches"].name
    client(on_aws, "dynamodb").create_backup(TableName=table, BackupName="before-the-migration")
    names = [backup.json("create", *MANAGED)["regions"][0]["backups"][0]["backup_id"] for _ in range(2)]
    assert backup.json("prune", *MANAGED, "--keep-last", "1", "--yes")["regions"][0]["removed"] == names[:1]
    left = {item["backup_id"] for item in backup.json("list", *MANAGED)["regions"][0]["backups"]}
    assert left == {names[1], "before-the-migration"}
    snapshots = client(on_aws, "rds").describe_db_cluster_snapshots(DBClusterIdentifier=on_aws.settings.environment)
    assert [item["DBClusterSnapshotIdentifier"] for item in snapshots["DBClusterSnapshots"]] == names[1:]


def test_tables_are_restored_into_a_copy(backup: BackupCommand, filled: Region) -> None:
    backup.json("create", *MANAGED)
    before = filled.items()
    table = filled.contract.tables["matches"].name
    filled.dynamodb().delete_item(TableName=table, Key={"match_id": {"S": "m1"}})
    planned = backup.json("restore", *MANAGED, "--into", "old", "--dry-run")["regions"][0]["restores"]
    done = backup.json("restore", *MANAGED, "--into", "old")["regions"][0]["restores"]
    assert done == planned
    target = next(item["target"] for item in done if item["target"].endswith(".matches"))
    pages = filled.dynamodb().get_paginator("scan").paginate(TableName=target)
    copied = {item["match_id"]["S"]: item for page in pages for item in page["Items"]}
    assert copied == before
    assert backup("discard", "old", "--yes").code == 0


def test_point_in_time_recovery_is_listed_and_restored_from(backup: BackupCommand, filled: Region) -> None:
    table = filled.contract.tables["matches"].name
    for name in (part.name for part in filled.contract.tables.values()):
        on = {"PointInTimeRecoveryEnabled": True}
        filled.dynamodb().update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=on)
    windows = [
        item for item in backup.json("list", *MANAGED)["regions"][0]["backups"] if item["backup_id"] == "point-in-time"
    ]
    assert table in [item["resource"] for item in windows]
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = backup.json("restore", *MANAGED, "--point-in-time", moment, "--into", "past")["regions"][0]["restores"]
    assert len(done) == len(filled.contract.tables)
    target = next(item["target"] for item in done if item["target"].endswith(".matches"))
    assert filled.dynamodb().scan(TableName=target, Select="COUNT")["Count"] == ITEMS
    assert backup("discard", "past", "--yes").code == 0


def test_a_drill_reads_the_copies_and_removes_them(backup: BackupCommand, filled: Region) -> None:
    backup.json("create", *MANAGED)
    tables = filled.dynamodb().list_tables()["TableNames"]
    (report,) = backup.json("drill", *MANAGED)["regions"]
    assert report["proven"] is True
    matches = next(part for part in report["parts"] if part["name"] == "matches")
    assert (matches["archived"], matches["found"]) == (ITEMS, ITEMS)
    assert (matches["sampled"], matches["same"]) == (ITEMS, ITEMS)
    assert {check["status"] for check in report["checks"]} == {"pass"}
    assert filled.dynamodb().list_tables()["TableNames"] == tables


@pytest.mark.parametrize("damage", ["all items but 1 are lost", "1 item is lost", "the items differ"])
def test_a_copy_that_differs_from_the_table_is_not_proven(
    backup: BackupCommand, filled: Region, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    backup.json("create", *MANAGED)
    tables = filled.dynamodb().list_tables()["TableNames"]
    restore = snapshots.restore_table

    async def restore_badly(clients: Any, arn: str, target: str) -> None:
        await restore(clients, arn, target)
        if not target.endswith(".matches"):
            return
        dynamodb = filled.dynamodb()
        items = dynamodb.scan(TableName=target)["Items"]
        keep = {"all items but 1 are lost": 1, "1 item is lost": ITEMS - 1}.get(damage, 0)
        for item in items[keep:]:
            if keep:
                dynamodb.delete_item(TableName=target, Key={"match_id": item["match_id"]})
            else:
                dynamodb.put_item(TableName=target, Item={**item, "state": {"S": "garbled"}})

    monkeypatch.setattr(snapshots, "restore_table", restore_badly)
    (report,) = backup.json("drill", *MANAGED, code=14)["regions"]
    assert report["proven"] is False
    assert {part["name"]: part["equal"] for part in report["parts"]} == {
        "matches": False,
        "players": True,
        "processed_events": True,
        "rate_limits": True,
    }
    assert filled.dynamodb().list_tables()["TableNames"] == tables


def test_a_backup_without_a_count_is_not_proven(backup: BackupCommand, filled: Region) -> None:
    name = f"mjctl-{new_backup_id().lower()}"
    for table in filled.contract.tables.values():
        filled.dynamodb().create_backup(TableName=table.name, BackupName=name)
    (report,) = backup.json("drill", name, *MANAGED, code=14)["regions"]
    assert len(report["not_proven"]) == len(filled.contract.tables)
    assert "does not record how many items" in report["not_proven"][0]


def as_from_outside_the_vpc(region: Region) -> Contract:
    """Return the contract as the production stacks publish it: database and cache are private."""
    contract = region.contract
    return contract.model_copy(
        update={
            "database": contract.database.model_copy(update={"access": "private", "host": "127.0.0.1", "port": 1}),
            "cache": contract.cache.model_copy(update={"access": "ops_function", "url": "redis://127.0.0.1:1"}),
        }
    )


def test_a_drill_needs_no_access_to_the_vpc(backup: BackupCommand, filled: Region) -> None:
    first = backup.json("create", *MANAGED)["regions"][0]["backups"][0]["backup_id"]
    backup.json("create", *MANAGED)
    backup.contracts = {filled.contract.region: as_from_outside_the_vpc(filled)}
    tables = filled.dynamodb().list_tables()["TableNames"]
    (report,) = backup.json("drill", first, *MANAGED, "--only", "table")["regions"]
    assert (report["proven"], report["backup_id"], report["not_proven"]) == (True, first, [])
    (report,) = backup.json("drill", first, *MANAGED, code=14)["regions"]
    assert (report["proven"], report["not_proven"]) == (False, ["database", "cache"])
    assert filled.dynamodb().list_tables()["TableNames"] == tables
    backup.json("restore", *MANAGED, "--into", "old")
    assert backup.json("discard")["regions"][0]["copies"] == ["old"]
    assert backup("discard", "old", "--yes").code == 0
    assert filled.dynamodb().list_tables()["TableNames"] == tables


def test_a_portable_backup_from_outside_the_vpc_is_refused_with_advice(backup: BackupCommand, region: Region) -> None:
    backup.contracts = {region.contract.region: as_from_outside_the_vpc(region)}
    ran = backup("create")
    assert ran.code == 12
    assert "--kind managed" in ran.err
    assert backup("create", "--dry-run").code == 12
    assert backup("create", "--only", "table").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("restore",), 64, "--into"),
        (("restore", "--into", "x"), 13, "mjctl backup create --kind managed"),
        (("drill",), 13, "mjctl backup create --kind managed"),
        (("restore", "mjctl-unknown", "--into", "x"), 13, "mjctl-unknown"),
    ],
)
def test_the_error_of_a_managed_restore_or_drill_names_the_cause(
    backup: BackupCommand, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ran = backup(*arguments, *MANAGED)
    assert ran.code == code
    assert message in ran.err


async def test_recovery_points_count_for_health(region: Region, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The emulated AWS Backup completes jobs without making a recovery point, so this test invents recovery points.
    from mjctl.health.checks import backup as check
    from mjctl.health.runner import run_health

    client(region, "backup").create_backup_vault(BackupVaultName=f"{region.settings.environment}-health")
    vault = Backup(vault_name=f"{region.settings.environment}-health")
    contract = region.contract.model_copy(update={"backup": vault, "target": "aws"})

    async def look() -> tuple[str, str]:
        report = await run_health("x", {contract.region: contract}, {contract.region: tmp_path}, only=["backup"])
        return report.results[0].status.value, report.results[0].summary

    assert await look() == ("warn", "no backup yet, the first backup is due within 24 h")

    async def points(*_: object) -> list[ManagedBackup]:
        return [
            ManagedBackup("backup", "arn", "partial", "partial", datetime.now(UTC)),
            ManagedBackup("backup", "arn", "old", "completed", datetime(2026, 1, 1, tzinfo=UTC)),
        ]

    monkeypatch.setattr(check, "recovery_points", points)
    status, summary = await look()
    assert status == "fail"
    assert "managed backup old" in summary
