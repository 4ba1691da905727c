from __future__ import annotations

from pathlib import Path

import asyncpg
import boto3
import pytest

from gameserver.runtime.settings import Settings
from mjctl.clients.boto import RegionClients
from mjctl.clients.records import MatchInStores, PlayerTotals, read_matches, read_standings
from mjctl.clients.stores import database
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError


async def fill(contract: Contract, settings: Settings, count: int) -> None:
    """Write the matches m0 to mN, each with two players, to PostgreSQL and DynamoDB."""
    with RegionClients(contract) as clients:
        async with database(contract, clients) as connection:
            await connection.executemany(
                "insert into matches (match_id, region, server_id, state, ended_at)"
                " values ($1, 'r', 's', 'ended', now())",
                [(f"m{number}",) for number in range(count)],
            )
            await connection.executemany(
                "insert into match_players (match_id, player_id, score) values ($1, $2, $3)",
                [(f"m{number}", player, score) for number in range(count) for player, score in (("a", 5), ("b", 3))],
            )
            await connection.execute(
                "insert into internal_stats (player_id, matches, total_score) values ('a', $1, $2)", count, 5 * count
            )
    table = boto3.resource("dynamodb", endpoint_url=settings.aws_endpoint_url, region_name=settings.region).Table(
        settings.tables["matches"]
    )
    players = [{"player_id": "a", "score": 5}, {"player_id": "b", "score": 3}]
    with table.batch_writer() as batch:
        for number in range(count):
            batch.put_item(Item={"match_id": f"m{number}", "state": "ended", "result": {"players": players}})


async def test_matches_are_read_from_both_stores_in_several_batches(contract: Contract, settings: Settings) -> None:
    await fill(contract, settings, 130)
    wanted = [f"m{number}" for number in range(130)] + ["none"]
    with RegionClients(contract) as clients:
        records = await read_matches(contract, clients, wanted)
        standings = await read_standings(contract, clients, ["a", "b"])
    assert records["none"] == MatchInStores("none")
    scores = {"a": 5, "b": 3}
    assert all(records[f"m{n}"] == MatchInStores(f"m{n}", "ended", scores, "ended", scores) for n in range(130))
    assert standings == {"a": PlayerTotals(130, 650)}


async def test_the_error_of_a_database_that_is_down_has_its_address(contract: Contract) -> None:
    away = contract.model_copy(update={"database": contract.database.model_copy(update={"port": 1})})
    with RegionClients(away) as clients, pytest.raises(UnreachableError) as down:
        async with database(away, clients):
            pass
    assert "127.0.0.1:1" in str(down.value)


async def test_the_error_of_a_wrong_password_does_not_contain_the_password(contract: Contract, tmp_path: Path) -> None:
    secret = tmp_path / "wrong.json"
    secret.touch(mode=0o600)
    secret.write_text('{"password": "not-the-one"}')
    part = contract.database.model_copy(update={"secret": f"file:{secret}"})
    wrong = contract.model_copy(update={"database": part})
    with RegionClients(wrong) as clients, pytest.raises(UnreachableError) as refused:
        async with database(wrong, clients):
            pass
    assert "not-the-one" not in str(refused.value)


async def test_a_connection_that_the_database_closes_is_an_unreachable_error(contract: Contract) -> None:
    async def use_a_broken_connection(clients: RegionClients) -> None:
        async with database(contract, clients) as connection:
            with pytest.raises(asyncpg.PostgresError):
                await connection.fetchval("select pg_terminate_backend(pg_backend_pid())")
            await connection.fetchval("select 1")

    with RegionClients(contract) as clients, pytest.raises(UnreachableError):
        await use_a_broken_connection(clients)
