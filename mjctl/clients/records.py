"""Reads the records of matches in PostgreSQL and DynamoDB, for checks that the game has stored them correctly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.stores import database
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

_BATCH_GET_LIMIT = 100


@dataclass(frozen=True)
class MatchInStores:
    """Describes the records of a match in PostgreSQL and DynamoDB.

    Attributes:
        match_id: The id of the match.
        database_state: The state in PostgreSQL, or None if PostgreSQL does not contain the match.
        database_scores: The scores in PostgreSQL by player id.
        table_state: The state in DynamoDB, or None if DynamoDB does not contain the match.
        table_scores: The scores in DynamoDB by player id.
    """

    match_id: str
    database_state: str | None = None
    database_scores: Mapping[str, int] = field(default_factory=dict)
    table_state: str | None = None
    table_scores: Mapping[str, int] = field(default_factory=dict)

    @property
    def ended_everywhere(self) -> bool:
        """Return whether the match has ended in PostgreSQL and in DynamoDB."""
        return self.ended_in_all(database=True)

    def ended_in_all(self, *, database: bool) -> bool:
        """Return whether the match has ended in DynamoDB and, with `database`, in PostgreSQL."""
        return self.table_state == "ended" and (not database or self.database_state == "ended")


@dataclass(frozen=True)
class PlayerTotals:
    """Holds the number of matches and the sum of scores of an internal account, from the table `internal_stats`."""

    matches: int
    total_score: int


async def read_matches(
    contract: Contract, clients: RegionClients, match_ids: Sequence[str], *, database: bool = True
) -> dict[str, MatchInStores]:
    """Return the records of matches by match id, by consistent reads.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region.
        match_ids: The ids of the matches.
        database: Read PostgreSQL too. If `database` is False, the records have no state and no scores of PostgreSQL.

    Raises:
        UnreachableError: PostgreSQL or DynamoDB does not answer, or the schema is missing.
    """
    (states, scores), items = await asyncio.gather(
        _database_rows(contract, clients, match_ids if database else ()), _table_items(contract, clients, match_ids)
    )
    return {
        match_id: MatchInStores(
            match_id,
            database_state=states.get(match_id),
            database_scores=scores.get(match_id, {}),
            table_state=_text(items.get(match_id, {}), "state"),
            table_scores=_table_scores(items.get(match_id, {})),
        )
        for match_id in match_ids
    }


async def read_standings(
    contract: Contract, clients: RegionClients, player_ids: Sequence[str]
) -> dict[str, PlayerTotals]:
    """Return the totals of internal accounts (probes and load tests) by player id.

    The returned mapping lacks players who have finished no match.

    Raises:
        UnreachableError: PostgreSQL does not answer, or its schema is missing.
    """
    rows = await _query(
        contract,
        clients,
        "select player_id, matches, total_score from internal_stats where player_id = any($1::text[])",
        player_ids,
    )
    return {row["player_id"]: PlayerTotals(row["matches"], row["total_score"]) for row in rows[0]}


async def _database_rows(
    contract: Contract, clients: RegionClients, match_ids: Sequence[str]
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    if not match_ids:
        return {}, {}
    matches, players = await _query(
        contract,
        clients,
        (
            "select match_id, state from matches where match_id = any($1::text[])",
            "select match_id, player_id, score from match_players where match_id = any($1::text[])",
        ),
        match_ids,
    )
    scores: dict[str, dict[str, int]] = {}
    for row in players:
        scores.setdefault(row["match_id"], {})[row["player_id"]] = row["score"]
    return {row["match_id"]: row["state"] for row in matches}, scores


async def _query(
    contract: Contract, clients: RegionClients, statements: str | Sequence[str], ids: Sequence[str]
) -> list[list[Any]]:
    import asyncpg

    part = contract.database
    async with database(contract, clients) as connection:
        try:
            return [
                await connection.fetch(statement, list(ids))
                for statement in ([statements] if isinstance(statements, str) else statements)
            ]
        except asyncpg.PostgresError as error:
            raise unreachable(contract, "PostgreSQL", f"{part.host}:{part.port}/{part.name}", error) from error


async def _table_items(
    contract: Contract, clients: RegionClients, match_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    table = contract.tables["matches"].name
    items: dict[str, dict[str, Any]] = {}
    for start in range(0, len(match_ids), _BATCH_GET_LIMIT):
        keys = [{"match_id": {"S": match_id}} for match_id in match_ids[start : start + _BATCH_GET_LIMIT]]
        pending: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(6):
            answer = await clients.call("dynamodb", "batch_get_item", RequestItems=pending)
            items |= {item["match_id"]["S"]: item for item in answer["Responses"].get(table, [])}
            pending = answer.get("UnprocessedKeys") or {}
            if not pending:
                break
            await asyncio.sleep(0.05 * 2**attempt)
        else:
            raise UnreachableError(
                "DynamoDB throttled six attempts to read the matches",
                where=f"{contract.region}, table {table}",
                hint="wait for some seconds, then repeat the command",
            )
    return items


def _text(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return None if value is None else str(value)


def _table_scores(item: Mapping[str, Any]) -> dict[str, int]:
    players = item.get("result", {}).get("M", {}).get("players", {}).get("L", [])
    return {entry["M"]["player_id"]["S"]: int(entry["M"]["score"]["N"]) for entry in players}
