"""Tests when a missing backup is a failure, and which backups do not count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.health.checks import backup
from mjctl.health.model import Thresholds
from mjctl.models.backup import Kind, ManagedBackup, WrappedKey
from mjctl.models.contract import Backup
from mjctl.models.errors import NotFoundError
from tests.unit.mjctl.conftest import MakeContract

DAY = 86_400.0
TABLES = {name: {"name": f"arena-test-{name}", "arn": f"arn:aws:dynamodb:::table/{name}"} for name in ("m", "p")}
CLUSTER = "arn:aws:rds:us-east-1:000000000000:cluster:db"
STORES = (*(table["arn"] for table in TABLES.values()), CLUSTER)
KEY = "arn:aws:kms:::key/1"


class FakeAws:
    """Answers with the creation times of tables and a cluster, and with the states of keys.

    Attributes:
        age: name of a table or cluster -> its age in seconds; `*` for all others.
        keys: ARN of a key -> its state.
    """

    def __init__(self, age: dict[str, float], keys: dict[str, str]) -> None:
        self.age, self.keys = age, keys

    def _created_at(self, name: str) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self.age.get(name, self.age["*"]))

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        if operation == "describe_table":
            return {"Table": {"CreationDateTime": self._created_at(parameters["TableName"])}}
        assert operation == "describe_key"
        if parameters["KeyId"] not in self.keys:
            raise NotFoundError("no such key")
        return {"KeyMetadata": {"KeyState": self.keys[parameters["KeyId"]]}}

    async def call_all(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        assert operation == "describe_db_clusters"
        return {"DBClusters": [{"ClusterCreateTime": self._created_at(parameters["DBClusterIdentifier"])}]}


@pytest.fixture
def look(make_contract: MakeContract, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def check(
        points: list[ManagedBackup],
        *,
        age: float = 10 * DAY,
        ages: dict[str, float] | None = None,
        keys: dict[str, str] | None = None,
        portable: Any = None,
        target: str = "aws",
    ) -> Any:
        async def recovery_points(*_: object) -> list[ManagedBackup]:
            return points

        async def newest_backup(_: object) -> Any:
            return portable

        monkeypatch.setattr(backup, "recovery_points", recovery_points)
        monkeypatch.setattr(backup, "newest_backup", newest_backup)
        contract = make_contract(target=target, tables=TABLES).model_copy(
            update={
                "backup": Backup(vault_name="vault", directory="/nowhere" if portable else None),
                "managed": SimpleNamespace(database_cluster="db"),
            }
        )
        aws = FakeAws({"*": age} | (ages or {}), {KEY: "Enabled"} if keys is None else keys)
        context: Any = SimpleNamespace(contract=contract, clients=aws, thresholds=Thresholds.promising(DAY))
        return await backup.check_backup(context)

    return check


def point(resource: str, age: float = 3_600, key: str | None = KEY) -> ManagedBackup:
    created_at = datetime.now(UTC) - timedelta(seconds=age)
    return ManagedBackup("backup", resource, f"point-{resource[-1]}", "completed", created_at, 1, {"key": key})


async def test_a_region_without_a_backup_fails_when_it_is_older_than_the_recovery_point_objective(look: Any) -> None:
    finding = await look([])
    assert finding.status == "fail"
    assert finding.summary == "no backup of table/m, table/p, db, a backup is due every 24 h"


async def test_a_new_region_has_time_until_its_first_backup(look: Any) -> None:
    finding = await look([], age=DAY / 4)
    assert finding.status == "warn"
    assert "the first backup is due within 18 h" in finding.summary
    assert finding.evidence["due_in_seconds"] == pytest.approx(0.75 * DAY, abs=60)


@pytest.mark.parametrize(("age", "status"), [(10 * DAY, "fail"), (3_600.0, "warn")])
async def test_a_store_without_a_backup_fails_by_the_age_of_that_store(look: Any, age: float, status: str) -> None:
    finding = await look([point(STORES[0]), point(CLUSTER)], ages={TABLES["p"]["name"]: age})
    assert finding.status == status
    assert finding.evidence["missing"] == ["table/p"]


async def test_a_region_passes_if_every_store_has_a_recent_backup(look: Any) -> None:
    assert (await look([point(store) for store in STORES])).status == "pass"


@pytest.mark.parametrize("keys", [{}, {KEY: "Disabled"}, {KEY: "PendingDeletion"}])
async def test_recovery_points_whose_key_cannot_be_used_do_not_count(look: Any, keys: dict[str, str]) -> None:
    finding = await look([point(store) for store in STORES], keys=keys)
    assert finding.status == "fail"
    assert KEY in finding.summary
    assert finding.evidence["cannot_be_opened"]


def portable(key: str, kinds: tuple[Kind, ...] = tuple(Kind)) -> Any:
    names = {Kind.TABLE: tuple(TABLES), Kind.DATABASE: ("public.matches",), Kind.CACHE: ()}
    parts = [SimpleNamespace(kind=kind, name=name) for kind in kinds for name in names[kind]]
    manifest = SimpleNamespace(parts=parts)
    signed = SimpleNamespace(keys=(WrappedKey("us-east-1", key, ""),), manifest=manifest)
    return SimpleNamespace(backup_id="b1", created_at=datetime.now(UTC), signed=signed)


async def test_a_portable_backup_counts_for_every_store(look: Any) -> None:
    finding = await look([], portable=portable(KEY))
    assert finding.status == "pass", finding


async def test_a_portable_backup_of_the_tables_does_not_count_for_the_database(look: Any) -> None:
    finding = await look([], portable=portable(KEY, (Kind.TABLE,)))
    assert (finding.status, finding.evidence["missing"]) == ("fail", ["db"])
    finding = await look([point(CLUSTER, age=2 * 3_600)], portable=portable(KEY, (Kind.TABLE,)))
    assert (finding.status, finding.evidence["kind"]) == ("pass", "managed")


@pytest.mark.parametrize(
    ("key", "keys", "reason"),
    [
        (KEY, {}, f"its KMS key {KEY} does not exist"),
        (KEY, {KEY: "PendingDeletion"}, "cannot be used: PendingDeletion"),
        (
            "arn:aws:kms:::key/of-the-region-before",
            {KEY: "Enabled"},
            "no longer has the KMS key",
        ),
    ],
)
async def test_a_portable_backup_that_cannot_be_decrypted_does_not_count(
    look: Any, key: str, keys: dict[str, str], reason: str
) -> None:
    finding = await look([], portable=portable(key), keys=keys)
    assert finding.status == "fail"
    assert reason in finding.summary
    local = await look([], portable=portable(key), keys=keys, target="local")
    assert local.status == "warn", "no players depend on the backups of a local region"
    assert reason in local.summary
