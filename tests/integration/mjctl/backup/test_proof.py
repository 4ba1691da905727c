"""Tests damaged backups, killed runs, drills, prune and the health check of backups."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest

from mjctl.backup.operations import unreadable_without
from mjctl.health.runner import run_health
from mjctl.models.contract import Contract
from tests.integration.mjctl.backup.conftest import OTHER, BackupCommand, Region

# Program of a child process that writes a backup slowly, so that a signal can interrupt the backup.
_CHILD = """
import asyncio, json, sys
from mjctl.clients.objects import DirectoryStore
from mjctl.backup import archive, operations
from mjctl.backup.create import Selection
from mjctl.models.contract import Contract

archive.CHUNK_BYTES = 2000
put = DirectoryStore.put

async def slowly(self, name, data):
    await asyncio.sleep(0.2)
    await put(self, name, data)

DirectoryStore.put = slowly

delete = DirectoryStore.delete

async def delete_slowly(self, names):
    await asyncio.sleep(1)
    await delete(self, names)

DirectoryStore.delete = delete_slowly
import mjctl.__main__, signal
signal.signal(signal.SIGTERM, mjctl.__main__._as_ctrl_c)
try:
    asyncio.run(operations.create(Contract.parse(json.load(sys.stdin)), Selection(), None))
except KeyboardInterrupt:
    sys.exit(130)
"""

# Program of a child process that runs a drill of the newest backup, and removes the scratch copy slowly.
_DRILL_CHILD = """
import asyncio, json, sys
from mjctl.backup import operations, restore, tables
from mjctl.models.contract import Contract

execute, drop = restore.execute, tables.drop

async def wait_after(*arguments, **options):
    await execute(*arguments, **options)
    await asyncio.sleep(60)

async def drop_slowly(clients, name):
    await asyncio.sleep(0.5)
    await drop(clients, name)

restore.execute, tables.drop = wait_after, drop_slowly

async def no_checks(contract):
    return ()

try:
    asyncio.run(operations.drill(Contract.parse(json.load(sys.stdin)), None, "latest", no_checks))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_verify_names_the_file_with_a_changed_byte(
    backup: BackupCommand, filled: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mjctl.backup.archive.CHUNK_BYTES", 60_000)
    backup.create()
    assert len(filled.files) > 8
    choose = random.Random(1)
    for file in filled.files:
        data = file.read_bytes()
        positions = {0, choose.randrange(len(data)), len(data) - 1}
        for position in positions:
            file.write_bytes(
                data[:position] + bytes([data[position] ^ 1 << choose.randrange(8)]) + data[position + 1 :]
            )
            (report,) = backup.json("verify", code=14)["regions"][0]["backups"]
            assert [problem["object"] for problem in report["problems"]] == [file.name], position
        file.write_bytes(data)
    assert backup.json("verify")["regions"][0]["backups"][0]["problems"] == []


@pytest.mark.parametrize("damage", ["removed", "truncated", "added", "emptied"])
def test_verify_names_a_removed_truncated_or_added_file(backup: BackupCommand, filled: Region, damage: str) -> None:
    created = backup.create()
    file = filled.store / created / "table.matches.000000"
    match damage:
        case "removed":
            file.unlink()
        case "truncated":
            os.truncate(file, file.stat().st_size - 1)
        case "emptied":
            os.truncate(file, 0)
        case "added":
            file = file.with_name("table.matches.000001")
            file.write_bytes(b"x")
    ran = backup("verify", created)
    assert ran.code == 14
    assert "DAMAGED" in ran.out
    assert f"{file.name}: " in ran.out


def test_verify_all_checks_every_backup(backup: BackupCommand, filled: Region) -> None:
    first, second = backup.create("--only", "table"), backup.create("--only", "cache")
    (filled.store / first / "table.matches.000000").write_bytes(b"")
    reports = backup.json("verify", "--all", code=14)["regions"][0]["backups"]
    assert {report["backup_id"]: len(report["problems"]) for report in reports} == {first: 1, second: 0}


def test_a_killed_run_leaves_an_incomplete_backup_that_prune_removes(backup: BackupCommand, filled: Region) -> None:
    whole = backup.create()
    with _child(filled.contract) as child:
        left = _half_way(filled, whole)
        # `mjctl backup prune` keeps the incomplete backup while the process that writes the backup is running.
        decisions = backup.json("prune", "--keep-last", "5", "--dry-run")["regions"][0]["decisions"]
        assert [(item["backup_id"], item["keep"]) for item in decisions] == [(whole, True), (left, True)]
        child.kill()
        child.wait()
    states = {entry["backup_id"]: entry["state"] for entry in backup.json("list")["regions"][0]["backups"]}
    assert states == {whole: "complete", left: "incomplete"}
    for command in ("show", "verify", "restore"):
        assert backup(command, left, "--dry-run" if command == "restore" else "--output=json").code == 13
    assert backup.json("show")["regions"][0]["backup_id"] == whole
    done = backup.json("prune", "--keep-last", "5", "--yes")["regions"][0]
    assert done["removed"] == [left]
    assert [path.name for path in filled.store.iterdir()] == [whole]
    assert backup.json("verify")["regions"][0]["backups"][0]["problems"] == []


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_stop_the_removal_of_an_unfinished_backup(
    filled: Region, second: signal.Signals
) -> None:
    with _child(filled.contract, _CHILD) as child:
        _half_way(filled, "")
        _interrupt_twice(child, second, "removing the unfinished backup")
        assert child.wait(60) == 130
    assert list(filled.store.iterdir()) == []


def test_a_second_ctrl_c_does_not_stop_the_removal_of_the_scratch_copy(backup: BackupCommand, filled: Region) -> None:
    backup.create()
    before = _traces(filled)
    with _child(filled.contract, _DRILL_CHILD) as child:
        end = time.monotonic() + 60
        while _traces(filled) == before:
            assert time.monotonic() < end, "the drill created no copy"
            time.sleep(0.01)
        output = _interrupt_twice(child, signal.SIGINT, "removing the scratch copy drill-")
        assert child.wait(60) == 130
    assert _traces(filled) == before
    assert "mjctl backup discard drill-" in output, "the message says how to remove the copy after a kill"


def _interrupt_twice(child: subprocess.Popen[str], second: signal.Signals, announced: str) -> str:
    """Send SIGINT, wait for the announced clean-up, and send the signal `second`. Returns: lines of stderr."""
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    first = child.stderr.readline()
    assert announced in first, first + child.stderr.read()
    child.send_signal(second)
    refused = child.stderr.readline()
    assert refused.startswith("still removing"), refused + child.stderr.read()
    child.send_signal(signal.SIGINT)
    return first + refused


def test_ctrl_c_leaves_no_partial_backup(filled: Region) -> None:
    with _child(filled.contract) as child:
        _half_way(filled, "")
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert list(filled.store.iterdir()) == []


def test_a_store_that_fails_leaves_no_partial_backup(
    backup: BackupCommand, filled: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mjctl.clients import objects

    write = objects._write

    def full(path: Path, data: bytes) -> None:
        if path.name.startswith("table."):
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(objects, "_write", full)
    ran = backup("create")
    assert ran.code == 10
    assert "No space left on device" in ran.err
    assert list(filled.store.iterdir()) == []


@pytest.mark.parametrize("part", ["cache", "database", "aws"])
def test_a_service_that_does_not_answer_leaves_no_partial_backup(
    backup: BackupCommand, filled: Region, part: str
) -> None:
    contract = filled.contract
    away = {
        "cache": {"cache": contract.cache.model_copy(update={"url": "redis://127.0.0.1:1/0"})},
        "database": {"database": contract.database.model_copy(update={"port": 1})},
        "aws": {"aws": contract.aws.model_copy(update={"endpoint_url": "http://127.0.0.1:1"})},
    }[part]
    backup.contracts = {contract.region: contract.model_copy(update=away)}
    ran = backup("create")
    assert ran.code == 9, ran.err
    assert not filled.store.exists() or list(filled.store.iterdir()) == []


def test_a_drill_proves_a_backup_and_removes_its_copy(backup: BackupCommand, filled: Region) -> None:
    backup.create()
    before = asyncio.run(filled.everything()), _traces(filled)
    junit = filled.store.parent / "drill.xml"
    document = backup.json("drill", "--junit", str(junit))
    (report,) = document["regions"]
    assert report["region"] == filled.contract.region
    suite = ElementTree.parse(junit).getroot()[0]  # noqa: S314  our own file
    assert (suite.get("tests"), suite.get("failures")) == (str(len(report["parts"]) + len(report["checks"]) + 1), "0")
    assert report["proven"] is True
    assert {(part["kind"], part["name"]) for part in report["parts"]} >= {
        ("database", "public.matches"),
        ("table", "matches"),
        ("cache", "sessions"),
    }
    assert all(part["equal"] for part in report["parts"])
    assert {check["name"]: check["status"] for check in report["checks"]} == {
        "database": "pass",
        "table/matches": "pass",
        "table/players": "pass",
        "table/processed_events": "pass",
        "table/rate_limits": "pass",
    }
    assert (asyncio.run(filled.everything()), _traces(filled)) == before


def test_a_drill_of_a_damaged_backup_fails_and_removes_its_copy(backup: BackupCommand, filled: Region) -> None:
    created = backup.create()
    file = filled.store / created / "cache.sessions.000000"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    before = _traces(filled)
    (report,) = backup.json("drill", code=14)["regions"]
    assert report["proven"] is False
    assert "cache.sessions.000000" in report["error"]
    # The drill had already created the tables of the scratch copy, and must remove them.
    assert report["removed"] is True
    assert _traces(filled) == before


def test_prune_asks_before_it_removes_backups(backup: BackupCommand, filled: Region) -> None:
    created = [backup.create("--only", "table") for _ in range(3)]
    plan = backup.json("prune", "--keep-last", "1", "--dry-run")["regions"][0]["decisions"]
    assert sum(item["keep"] for item in plan) == 1
    ran = backup("prune", "--keep-last", "1")
    assert ran.code == 12
    assert "not kept by the policy" in ran.err
    assert len(list(filled.store.iterdir())) == 3
    assert len(backup.json("prune", "--keep-last", "1", "--yes")["regions"][0]["removed"]) == 2
    (kept,) = filled.store.iterdir()
    assert kept.name == max(created)
    assert backup("prune", "--keep-last", "0", "--yes").code == 64


async def test_the_health_check_reports_the_age_of_the_newest_backup(region: Region, tmp_path: Path) -> None:
    from mjctl.backup import operations
    from mjctl.backup.create import Selection
    from mjctl.health.model import Thresholds
    from mjctl.models.backup import Kind

    async def look(contract: Contract, bounds: Thresholds) -> tuple[str, str]:
        name = contract.region
        report = await run_health("local", {name: contract}, {name: tmp_path}, only=["backup"], thresholds=bounds)
        return report.results[0].status.value, report.results[0].summary

    status, summary = await look(region.contract, Thresholds())
    assert (status, summary) == ("warn", "no backup yet, the first backup is due within 24 h")
    created = await operations.create(region.contract, Selection([Kind.TABLE]), None)
    status, summary = await look(region.contract, Thresholds())
    assert status == "pass"
    assert created.backup_id in summary
    late = Thresholds.promising(1e-6)
    assert (await look(region.contract, late))[0] == "warn"
    on_aws = region.contract.model_copy(update={"target": "aws"})
    assert (await look(on_aws, late))[0] == "fail"
    _kms(region).disable_key(KeyId=region.contract.keys["data"])
    status, summary = await look(on_aws, Thresholds.promising(1e-3))
    assert status == "fail"
    assert f"{created.backup_id}: its KMS key {region.contract.keys['data']} cannot be used: Disabled" in summary


def test_the_list_shows_that_a_backup_without_its_key_cannot_be_opened(backup: BackupCommand, filled: Region) -> None:
    created = backup.create()
    assert backup.json("list")["regions"][0]["backups"][0]["opens"] is True
    _kms(filled).schedule_key_deletion(KeyId=filled.contract.keys["data"])
    (listed,) = backup.json("list")["regions"][0]["backups"]
    assert (listed["backup_id"], listed["opens"]) == (created, False)
    assert "cannot be opened" in backup("list").out


async def test_a_destroy_lists_the_backups_that_it_makes_unreadable(
    backup: BackupCommand, filled: Region, other_region: Region
) -> None:
    # A backup with a copy in another region stays readable while the other region is deployed.
    backup.add(other_region)
    here = filled.contract.region

    def make(*arguments: str) -> str:
        return backup.create("--region", here, "--only", "table", *arguments)

    alone = await asyncio.to_thread(make)
    with_copy = await asyncio.to_thread(make, "--copy-to", OTHER)
    regions = {here: filled.contract, OTHER: other_region.contract}

    async def lost(*names: str) -> dict[str, list[str]]:
        destroyed = {name: regions[name] for name in names}
        remaining = {name: contract for name, contract in regions.items() if name not in names}
        unreadable = await unreadable_without(destroyed, remaining, None)
        return {region: [entry.backup_id for entry in entries] for region, entries in unreadable.items()}

    assert await lost(here) == {here: [alone]}
    assert await lost(OTHER) == {}
    assert await lost(here, OTHER) == {here: [alone, with_copy], OTHER: [with_copy]}


def _kms(region: Region) -> Any:
    return boto3.client("kms", endpoint_url=region.contract.aws.endpoint_url, region_name=region.contract.region)


def _traces(region: Region) -> tuple[list[str], list[tuple[object, ...]], int]:
    databases = asyncio.run(region.rows("SELECT datname FROM pg_database ORDER BY 1"))
    return region.dynamodb().list_tables()["TableNames"], databases, len(asyncio.run(region.cached()))


@contextmanager
def _child(contract: Contract, program: str = _CHILD) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(contract.model_dump(mode="json")))
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _half_way(region: Region, whole: str) -> str:
    """Wait until the child has stored some objects of its backup, and return the id of that backup."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        folders = [path for path in region.store.glob("*") if path.name != whole]
        if folders and len(list(folders[0].iterdir())) >= 3:
            assert not (folders[0] / "manifest.json").exists()
            return folders[0].name
        time.sleep(0.01)
    pytest.fail("the child stored nothing")
