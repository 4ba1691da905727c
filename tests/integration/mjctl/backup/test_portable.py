"""Tests `mjctl backup` with real Redis, PostgreSQL and emulated AWS."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest

from mjctl.models.workspace import Workspace
from tests.integration.mjctl.backup.conftest import ITEMS, KEYS, OTHER, ROWS, BackupCommand, Region

PROJECT = Workspace.discover(Path(__file__)).project_dir
NEWEST_MIGRATION = max(path.name[:4] for path in (PROJECT / "gameserver" / "migrations" / "versions").glob("0*.py"))
EVERY_KIND = {"database": ROWS + 100, "table": ITEMS + 1, "cache": KEYS + 1}


def test_a_backup_contains_all_stores_but_not_the_computed_namespaces(backup: BackupCommand, filled: Region) -> None:
    document = backup.json("create")["regions"][0]
    assert document["records"] == EVERY_KIND
    assert document["database"]["migration"] == NEWEST_MIGRATION
    (listed,) = backup.json("list")["regions"][0]["backups"]
    assert (listed["backup_id"], listed["state"]) == (document["backup_id"], "complete")
    (shown,) = backup.json("show", document["backup_id"])["regions"]
    assert [key["region"] for key in shown["keys"]] == [filled.contract.region]
    assert {part["name"] for part in shown["parts"] if part["kind"] == "cache"} == {"lobby", "sessions"}
    secrets = (b"\x00sealed\xff", b"slash", b"computed-anew")
    assert not any(secret in file.read_bytes() for file in filled.files for secret in secrets)


def test_a_dry_run_lists_the_parts_and_makes_no_backup(backup: BackupCommand, filled: Region) -> None:
    parts = backup.json("create", "--dry-run", "--only", "table", "--only", "cache")["regions"][0]["parts"]
    assert {f"{part['kind']}/{part['name']}": part["records"] for part in parts} == {
        "table/matches": ITEMS,
        "table/players": 1,
        "table/processed_events": 0,
        "table/rate_limits": 0,
        "cache/lobby": 1,
        "cache/sessions": KEYS,
    }
    assert filled.files == []


def test_a_restore_reproduces_all_stores(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    created = backup.create("--cache-namespace", "*")
    asyncio.run(filled.empty())
    plan = backup.json("restore", "--dry-run")["regions"][0]
    assert {step["action"] for step in plan["steps"]} == {"fill"}
    report = backup.json("restore", created)["regions"][0]
    assert report["equal"] is True
    assert asyncio.run(filled.everything()) == before


def test_a_restore_asks_before_it_overwrites_records(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    backup.create()
    ran = backup("restore")
    assert ran.code == 12
    assert f"Replace {sum(EVERY_KIND.values())} records" in ran.err
    assert asyncio.run(filled.everything()) == before


def test_a_restore_replaces_changed_added_and_deleted_records(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    backup.create("--cache-namespace", "*")
    asyncio.run(filled.execute("UPDATE matches SET mode = 'changed' WHERE match_id < 'm2'"))
    asyncio.run(filled.execute("DELETE FROM match_players"))
    table = filled.contract.tables["matches"].name
    filled.dynamodb().put_item(TableName=table, Item={"match_id": {"S": "new"}, "state": {"S": "x"}})
    filled.dynamodb().put_item(TableName=table, Item={"match_id": {"S": "m1"}, "state": {"S": "changed"}})
    filled.dynamodb().delete_item(TableName=table, Key={"match_id": {"S": "m2"}})
    assert backup.json("restore", "--yes")["regions"][0]["equal"] is True
    assert asyncio.run(filled.everything()) == before
    # A second restore changes nothing, and reports again that the stores equal the backup.
    assert backup.json("restore", "--yes")["regions"][0]["equal"] is True
    assert asyncio.run(filled.everything()) == before


def test_an_interrupted_restore_can_be_repeated(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    backup.create("--cache-namespace", "*")
    asyncio.run(filled.empty())
    some = {"match_id": {"S": "m7"}, "state": {"S": "half"}}
    filled.dynamodb().put_item(TableName=filled.contract.tables["matches"].name, Item=some)
    assert backup("restore").code == 12
    assert backup.json("restore", "--yes")["regions"][0]["equal"] is True
    assert asyncio.run(filled.everything()) == before


def test_only_restores_the_given_kind_of_store(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    backup.create()
    asyncio.run(filled.empty())
    backup.json("restore", "--only", "database")
    after = asyncio.run(filled.everything())
    assert after[:3] == before[:3]
    assert after[3:] == ({}, {}, {})


def test_the_restore_of_a_damaged_backup_does_not_change_the_database(backup: BackupCommand, filled: Region) -> None:
    backup.create()
    before = asyncio.run(filled.everything())
    _flip(next(file for file in filled.files if "match_players" in file.name), 50)
    ran = backup("restore", "--yes")
    assert ran.code == 14
    assert "database.public.match_players.000000" in ran.err
    assert asyncio.run(filled.everything()) == before


def test_a_backup_is_restored_into_another_region(backup: BackupCommand, filled: Region, other_region: Region) -> None:
    backup.add(other_region)
    created = backup.create("--region", filled.contract.region)
    report = backup.json("restore", created, "--region", filled.contract.region, "--to-region", OTHER)["regions"][0]
    assert report["equal"] is True
    theirs, ours = asyncio.run(other_region.everything()), asyncio.run(filled.everything())
    assert theirs[:4] == ours[:4]
    assert {name for name in theirs[4] if not name.startswith("profile")} == set(theirs[4])


def test_a_backup_is_restored_into_another_environment(
    backup: BackupCommand, filled: Region, other_region: Region
) -> None:
    # A staging environment receives production's data. The restore only reads the production environment.
    backup.elsewhere["staging"] = {OTHER: other_region.contract.model_copy(update={"environment": "staging"})}
    target = ("--to-env", "staging", "--to-region", OTHER)
    before = asyncio.run(filled.everything())
    created = backup.create()
    shown = backup.json("restore", created, *target, "--dry-run")["regions"][0]
    assert "staging" in shown["target"]
    assert asyncio.run(other_region.rows("SELECT * FROM matches")) == []
    report = backup.json("restore", created, *target)["regions"][0]
    assert report["equal"] is True
    assert asyncio.run(other_region.everything())[:3] == before[:3]
    assert asyncio.run(filled.everything()) == before


def test_a_copy_can_be_restored_after_the_loss_of_its_region(
    backup: BackupCommand, filled: Region, other_region: Region
) -> None:
    # The other region decrypts the copy of the backup with the other region's key, without the store and the key of the
    # first region.
    backup.add(other_region)
    created = backup.create("--region", filled.contract.region, "--copy-to", OTHER)
    shutil.rmtree(filled.store)
    del backup.contracts[filled.contract.region]
    kms = boto3.client("kms", endpoint_url=filled.contract.aws.endpoint_url, region_name=filled.contract.region)
    kms.disable_key(KeyId=filled.contract.keys["data"])
    assert backup.json("verify", created)["regions"][0]["backups"][0]["problems"] == []
    assert backup.json("restore", created)["regions"][0]["equal"] is True
    assert len(asyncio.run(other_region.rows("SELECT * FROM matches"))) == ROWS


def test_a_backup_cannot_be_decrypted_without_its_key(
    backup: BackupCommand, filled: Region, other_region: Region
) -> None:
    created = backup.create()
    shutil.copytree(filled.store, other_region.store)
    backup.contracts = {OTHER: other_region.contract}
    ran = backup("restore", created)
    assert ran.code == 13
    assert filled.contract.keys["data"] in ran.err


def test_a_backup_contains_one_moment_of_the_database(backup: BackupCommand, filled: Region) -> None:
    # A writer inserts a row into each of two tables in every transaction. The backup must contain both rows of a
    # transaction or none of them.
    stop, written = False, asyncio.Event()

    async def write() -> None:
        connection = await filled.connect()
        number = 0
        while not stop:
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO matches (match_id, region, server_id) VALUES ($1, '', '')", f"w{number}"
                )
                await connection.execute(
                    "INSERT INTO match_players (match_id, player_id) VALUES ($1, 'writer')", f"w{number}"
                )
            number += 1
            written.set()
        await connection.close()

    async def create_meanwhile() -> None:
        nonlocal stop
        from mjctl.backup import operations
        from mjctl.backup.create import Selection

        writing = asyncio.create_task(write())
        await written.wait()
        await operations.create(filled.contract, Selection(), None)
        stop = True
        await writing

    asyncio.run(create_meanwhile())
    asyncio.run(filled.empty())
    backup.json("restore", "--only", "database")
    (matches,) = asyncio.run(filled.rows("SELECT count(*) FROM matches WHERE match_id LIKE 'w%'"))
    (players,) = asyncio.run(filled.rows("SELECT count(*) FROM match_players WHERE player_id = 'writer'"))
    assert matches == players
    assert matches[0] > 0


def test_an_item_that_has_expired_since_the_backup_is_not_restored(
    backup: BackupCommand, filled: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = int(time.time()) + 3600
    expired = {"match_id": {"S": "expired"}, "expires_at": {"N": str(expires_at)}}
    filled.dynamodb().put_item(TableName=filled.contract.tables["matches"].name, Item=expired)
    backup.create()
    asyncio.run(filled.empty())
    # The restore runs an hour after the backup.
    monkeypatch.setattr("mjctl.backup.tally.time", SimpleNamespace(time=lambda: expires_at + 1))
    report = backup.json("restore")["regions"][0]
    assert report["equal"] is True
    (part,) = [part for part in report["parts"] if part["name"] == "matches"]
    assert (part["archived"], part["expired"], part["found"]) == (ITEMS + 1, 1, ITEMS)
    assert "expired" not in filled.items()


def test_a_restore_into_a_database_at_another_migration_is_refused(backup: BackupCommand, filled: Region) -> None:
    backup.create()
    asyncio.run(filled.execute("UPDATE alembic_version SET version_num = '9999'"))
    ran = backup("restore", "--yes")
    assert ran.code == 11
    assert NEWEST_MIGRATION in ran.err
    assert "9999" in ran.err


@pytest.mark.parametrize("named", ["nothing", "20260101T000000000Z-00000000"])
def test_an_unknown_backup_is_not_found(backup: BackupCommand, filled: Region, named: str) -> None:
    created = backup.create()
    ran = backup("show", named)
    assert ran.code == 13
    assert created in ran.err


def test_without_a_backup_each_command_shows_how_to_make_a_backup(backup: BackupCommand) -> None:
    for command in ("show", "verify", "restore", "drill"):
        ran = backup(command)
        assert ran.code == 13
        assert "mjctl backup create" in ran.err
    assert backup.json("list")["regions"][0]["backups"] == []


def test_backups_can_be_stored_in_a_bucket(backup: BackupCommand, filled: Region) -> None:
    s3 = boto3.client("s3", endpoint_url=filled.contract.aws.endpoint_url, region_name=filled.contract.region)
    bucket = f"backups-{filled.settings.environment}"
    s3.create_bucket(Bucket=bucket)
    store = ("--store", f"s3://{bucket}/game")
    created = backup.create(*store)
    assert backup.json("verify", *store)["regions"][0]["backups"][0]["problems"] == []
    names = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    prefix = f"game/local/{filled.contract.region}/{created}/"
    assert f"{prefix}manifest.json" in names
    assert all(name.startswith(prefix) for name in names)
    assert filled.files == []
    asyncio.run(filled.empty())
    assert backup.json("restore", *store)["regions"][0]["equal"] is True
    backup.create(*store)
    ran = backup("prune", *store, "--keep-last", "1", "--yes")
    assert ran.code == 0, ran.err
    left = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(name.startswith(prefix) for name in left)
    s3.delete_object(Bucket=bucket, Key=next(name for name in left if "table" in name))
    assert "is missing" in backup.json("list", *store)["regions"][0]["backups"][0]["problem"]


def test_a_missing_bucket_is_an_error(backup: BackupCommand) -> None:
    ran = backup("list", "--store", "s3://no-such-bucket")
    assert ran.code == 13
    assert "list_objects_v2" in ran.err


@pytest.mark.usefixtures("discarded_copies")
def test_a_scratch_copy_is_created_and_discarded(backup: BackupCommand, filled: Region) -> None:
    before = asyncio.run(filled.everything())
    backup.create()
    assert backup.json("restore", "--into", "review")["regions"][0]["equal"] is True
    assert backup("restore", "--into", "review").code == 11
    assert backup.json("discard")["regions"][0]["copies"] == ["review"]
    assert backup("discard", "review").code == 12
    assert backup("discard", "rev", "--yes").code == 13
    assert len(backup.json("discard", "review", "--yes")["regions"][0]["removed"]) == 7
    assert backup.json("discard")["regions"][0]["copies"] == []
    assert asyncio.run(filled.everything()) == before


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
