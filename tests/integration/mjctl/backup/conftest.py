"""Provides a region of real services with data in all of its stores, and functions that read the stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from redis.asyncio import Redis

from gameserver.cache import DistributedCache
from gameserver.runtime.settings import Settings
from mjctl.__main__ import run
from mjctl.backup.operations import copies, discard
from mjctl.local import data_plane
from mjctl.models.contract import Backup, Contract, Table
from mjctl.models.environment import Environment
from tests.integration.conftest import DEFINITION, EmulatedAws
from tests.integration.mjctl.conftest import Ran

ROWS, ITEMS, KEYS = 3_000, 150, 300
OTHER = "eu-west-1"
DAY = 86_400


@dataclass
class Region:
    """Reads and fills the stores of a region.

    Attributes:
        contract: the contract over the region's services.
        settings: settings of the game for this region.
        store: the folder that receives the region's backups.
    """

    contract: Contract
    settings: Settings
    store: Path
    _dynamodb: Any = None

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.store.rglob("*") if path.is_file())

    @property
    def password(self) -> str:
        secret = Path(self.contract.database.secret.removeprefix("file:"))
        return str(json.loads(secret.read_text())["password"])

    async def connect(self) -> Any:
        part = self.contract.database
        return await asyncpg.connect(
            host=part.host, port=part.port, user=part.user, password=self.password, database=part.name
        )

    async def execute(self, statement: str, *arguments: Any) -> None:
        connection = await self.connect()
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        connection = await self.connect()
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    def dynamodb(self) -> Any:
        if self._dynamodb is None:
            endpoint = self.contract.aws.endpoint_url
            self._dynamodb = boto3.client("dynamodb", endpoint_url=endpoint, region_name=self.contract.region)
        return self._dynamodb

    def items(self, key: str = "matches") -> dict[str, Any]:
        pages = self.dynamodb().get_paginator("scan").paginate(TableName=self.contract.tables[key].name)
        hash_key = {"matches": "match_id", "players": "player_id", "processed_events": "event_id"}[key]
        return {item[hash_key]["S"]: _sets_in_order(item) for page in pages for item in page["Items"]}

    async def cached(self) -> dict[str, Any]:
        redis = Redis.from_url(self.contract.cache.url)
        cache = DistributedCache(redis)
        try:
            return {
                entry.name: (await cache.get(entry.namespace, entry.key), DAY - 3600 < (entry.ttl_seconds or 0) <= DAY)
                async for entry in cache.scan("*")
            }
        finally:
            await redis.aclose()

    async def everything(self) -> tuple[Any, ...]:
        """Return the contents of all stores, which a restore must reproduce."""
        matches = await self.rows("SELECT * FROM matches ORDER BY match_id")
        players = await self.rows("SELECT * FROM match_players ORDER BY match_id, player_id")
        events = await self.rows("SELECT * FROM match_events ORDER BY match_id, sequence")
        return matches, players, events, self.items(), self.items("players"), await self.cached()

    async def fill(self) -> None:
        await self.execute(
            "INSERT INTO matches (match_id, region, server_id, state, mode, started_at, ended_at)"
            " SELECT 'm' || i, 'us-east-1', E'tab\\t, line\\n, back\\\\slash ä', 'ended', NULL,"
            " now() - i * interval '1 s', now() FROM generate_series(1, $1::int) i",
            ROWS,
        )
        await self.execute(
            "INSERT INTO match_players (match_id, player_id, display_name, score)"
            " SELECT match_id, 'p' || match_id, '', 7 FROM matches LIMIT 50"
        )
        await self.execute(
            "INSERT INTO match_events (match_id, sequence, type, occurred_at, payload)"
            ' SELECT match_id, 3, \'card.played\', now(), \'{"note": "tab\\t, back\\\\slash ä", "tip": 0.10}\''
            " FROM matches LIMIT 50"
        )
        write = self.dynamodb().batch_write_item
        for start in range(0, ITEMS, 25):
            puts = [{"PutRequest": {"Item": item(number)}} for number in range(start, start + 25)]
            write(RequestItems={self.contract.tables["matches"].name: puts})
        sealed = {"player_id": {"S": "p1"}, "email": {"B": b"\x00sealed\xff"}, "seen": {"NS": ["3", "1", "2"]}}
        self.dynamodb().put_item(TableName=self.contract.tables["players"].name, Item=sealed)
        redis = Redis.from_url(self.contract.cache.url)
        cache = DistributedCache(redis, jitter=0)
        for number in range(KEYS):
            await cache.set("sessions", f"k{number}:[*]ä", {"n": number, "raw": b"\x00\xff"}, DAY)
        await cache.set("lobby", "one", None, DAY)
        await cache.set("profile", "computed-anew", {}, DAY)
        await redis.aclose()

    async def empty(self) -> None:
        await self.execute(
            "TRUNCATE matches, match_epochs, match_players, match_events, player_stats, processed_events"
        )
        for key, name in (("matches", "match_id"), ("players", "player_id")):
            deletes = [{"DeleteRequest": {"Key": {name: {"S": item_key}}}} for item_key in self.items(key)]
            for start in range(0, len(deletes), 25):
                self.dynamodb().batch_write_item(
                    RequestItems={self.contract.tables[key].name: deletes[start : start + 25]}
                )
        redis = Redis.from_url(self.contract.cache.url)
        await redis.flushdb()
        await redis.aclose()


def _sets_in_order(item: dict[str, Any]) -> dict[str, Any]:
    """Return the DynamoDB item with each set of numbers sorted, because DynamoDB returns a set in any order."""
    return {name: {"NS": sorted(value["NS"])} if "NS" in value else value for name, value in item.items()}


def item(number: int) -> dict[str, Any]:
    return {
        "match_id": {"S": f"m{number}"},
        "state": {"S": "ended"},
        "created_at": {"N": str(1_700_000_000_000 + number)},
        "result": {"M": {"players": {"L": [{"M": {"player_id": {"S": f"p{number}"}, "score": {"N": "1"}}}]}}},
    }


@pytest.fixture
def region(contract: Contract, settings: Settings, tmp_path: Path) -> Region:
    return Region(_keeping_backups_in(contract, tmp_path / "backups"), settings, tmp_path / "backups")


@pytest.fixture
def filled(region: Region) -> Region:
    asyncio.run(region.fill())
    return region


@pytest.fixture
def other_region(make_settings: Callable[..., Settings], aws: EmulatedAws, region: Region, tmp_path: Path) -> Region:
    """Return another region of the same environment, with separate tables, database, cache and key."""
    settings = make_settings()
    endpoint = settings.aws_endpoint_url or ""
    plane = data_plane.create(data_plane.DataPlaneSpec(DEFINITION, settings.environment, endpoint, OTHER, aws.key))
    own = {
        "region": OTHER,
        "cache": region.contract.cache.model_copy(update={"url": settings.cache_url}),
        "database": region.contract.database.model_copy(update={"name": settings.database_name}),
        "tables": {key: Table(**table) for key, table in plane["tables"].items()},
        "keys": plane["keys"],
    }
    contract = region.contract.model_copy(update=own)
    return Region(_keeping_backups_in(contract, tmp_path / "other"), settings, tmp_path / "other")


@pytest.fixture
def backup(
    region: Region, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> BackupCommand:
    """Return a function that runs `mjctl backup ...` as if Terraform had published the contract of `region`."""
    command = BackupCommand({region.contract.region: region.contract}, capsys)
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mjctl.terraform.contracts.deployed_contracts", command.deployed)
    return command


@pytest.fixture
def discarded_copies(region: Region) -> Iterator[None]:
    """Remove the region's scratch copies after a test.

    All tests of a session share a PostgreSQL and an emulated AWS. A failed test would leave its copy there, and the
    second run of the test would find it.
    """
    yield
    for name in asyncio.run(copies(region.contract)):
        asyncio.run(discard(region.contract, name))


@dataclass
class BackupCommand:
    """Runs `mjctl backup` in this process.

    Attributes:
        contracts: region -> contract, of the environment `local`.
        capture: captures the output of the command.
        elsewhere: name of another environment -> its contracts by region.
    """

    contracts: dict[str, Contract]
    capture: pytest.CaptureFixture[str]
    elsewhere: dict[str, dict[str, Contract]] = field(default_factory=dict)

    def __call__(self, *arguments: str) -> Ran:
        code = run(["backup", *arguments])
        captured = self.capture.readouterr()
        return Ran(int(code), captured.out, captured.err)

    def json(self, *arguments: str, code: int = 0) -> Any:
        ran = self(*arguments, "--output", "json")
        assert ran.code == code, ran.err
        return ran.json()

    def create(self, *arguments: str) -> str:
        """Make a backup and return its id."""
        return str(self.json("create", *arguments)["regions"][0]["backup_id"])

    def deployed(self, _: object, environment: Environment, regions: Sequence[str] = ()) -> dict[str, Contract]:
        published = self.elsewhere.get(environment.name, self.contracts)
        return {name: contract for name, contract in published.items() if not regions or name in regions}

    def add(self, region: Region) -> None:
        self.contracts[region.contract.region] = region.contract


def _keeping_backups_in(contract: Contract, folder: Path) -> Contract:
    return contract.model_copy(update={"backup": Backup(directory=str(folder))})
