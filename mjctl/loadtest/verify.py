"""Verifies after a load test that PostgreSQL and DynamoDB contain each match once, with all players of the match."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.records import MatchInStores, PlayerTotals, read_matches, read_standings
from mjctl.loadtest.model import EndedMatch, LoadTally, Verification
from mjctl.loadtest.players import timed
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

if TYPE_CHECKING:
    from gameserver.client import GameClient

_LOOK_INTERVAL_SECONDS = 0.25
_PROFILES_AT_ONCE = 8


async def verify(
    contract: Contract, tally: LoadTally, bots: Sequence[GameClient], *, settle_seconds: float
) -> Verification:
    """Read PostgreSQL and DynamoDB until both contain all matches of the load test, for `settle_seconds` at most.

    PostgreSQL and DynamoDB must contain each match that a bot has started, or after an interruption each match whose
    end a bot has seen. The bots are new players without earlier matches, so their standings show whether a match was
    counted twice.

    On AWS only programs in the VPC can read PostgreSQL. There the standings are the profiles that the API returns, so a
    match that PostgreSQL lacks is reported as a wrong standing.

    Args:
        contract: the contract of the region.
        tally: what the bots have counted.
        bots: the bots, logged in, which read their profiles.
        settle_seconds: the time in which all results must be stored.

    Raises:
        UnreachableError: PostgreSQL, DynamoDB or the API does not answer.
    """
    wanted = sorted(tally.ended if tally.interrupted else tally.started)
    players = sorted(tally.signed_up.values())
    private = contract.database.access == "private"
    began = time.monotonic()
    with RegionClients(contract) as clients:
        while True:
            records = await read_matches(contract, clients, wanted, database=not private)
            # If the load test was interrupted, do not compare the standings, because the abandoned matches end later
            # and change the standings.
            standings: Mapping[str, PlayerTotals] | None = None
            if private:
                records = {match_id: _as_in_table(record) for match_id, record in records.items()}
                if not tally.interrupted and all(record.ended_everywhere for record in records.values()):
                    try:
                        standings = await _profiles(contract, tally, bots)
                    except UnreachableError:
                        # One late answer of a busy API must not discard the whole result of the load test.
                        if time.monotonic() - began >= settle_seconds:
                            raise
                        await asyncio.sleep(_LOOK_INTERVAL_SECONDS)
                        continue
            elif not tally.interrupted:
                standings = await read_standings(contract, clients, players)
            verification = judge(records, standings, tally.ended, waited_seconds=time.monotonic() - began)
            if verification.complete or verification.waited_seconds >= settle_seconds:
                return verification
            await asyncio.sleep(_LOOK_INTERVAL_SECONDS)


def _as_in_table(record: MatchInStores) -> MatchInStores:
    """Return a record whose state and scores in PostgreSQL, which mjctl cannot read, are those in DynamoDB."""
    return replace(record, database_state=record.table_state, database_scores=record.table_scores)


async def _profiles(contract: Contract, tally: LoadTally, bots: Sequence[GameClient]) -> dict[str, PlayerTotals]:
    """Return the standing of each bot from its profile, for the bots that have ended a match."""
    from gameserver.client import ApiError

    gate = asyncio.Semaphore(_PROFILES_AT_ONCE)

    async def read(bot: GameClient) -> Mapping[str, Any]:
        async with gate:
            return await timed(tally, "profile", bot.profile)

    try:
        profiles = await asyncio.gather(*map(read, bots))
    except ApiError as error:
        raise unreachable(contract, "the game's API", contract.endpoints.api, error) from error
    return {
        str(profile["player_id"]): PlayerTotals(int(profile["matches"]), int(profile["total_score"]))
        for profile in profiles
        if profile["matches"]
    }


def judge(
    records: Mapping[str, MatchInStores],
    standings: Mapping[str, PlayerTotals] | None,
    seen: Mapping[str, EndedMatch],
    *,
    waited_seconds: float,
) -> Verification:
    """Compare the stored matches with what the bots saw, and the standings with the sums of the stored matches.

    Args:
        records: id of a match -> the match as PostgreSQL and DynamoDB contain it.
        standings: id of a player -> number of matches and sum of scores in PostgreSQL; None to skip the comparison of
            the standings.
        seen: id of a match -> the end of the match as a bot saw it.
        waited_seconds: seconds that mjctl has waited for the stored results, for the result of this function.
    """
    missing_players, wrong = set(), set()
    matches: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for match_id, record in records.items():
        played = seen[match_id].scores if match_id in seen else record.table_scores
        if record.database_state == "ended":
            missing_players |= {f"{match_id}/{player}" for player in played if player not in record.database_scores}
            matches.update(record.database_scores.keys())
            totals.update(record.database_scores)
        if record.ended_everywhere and not dict(record.database_scores) == dict(record.table_scores) == dict(played):
            wrong.add(match_id)
    counted = defaultdict(lambda: PlayerTotals(0, 0), standings or {})
    off = [
        player
        for player in (matches.keys() | standings.keys() if standings is not None else ())
        if counted[player] != PlayerTotals(matches[player], totals[player])
    ]
    return Verification(
        matches=len(records),
        waited_seconds=round(waited_seconds, 2),
        missing_in_database=_without(records, "database_state"),
        missing_players_in_database=tuple(sorted(missing_players)),
        missing_in_table=_without(records, "table_state"),
        wrong_scores=tuple(sorted(wrong)),
        duplicated=tuple(sorted(player for player in off if counted[player].matches > matches[player])),
        counted_wrongly=tuple(sorted(player for player in off if counted[player].matches <= matches[player])),
    )


def _without(records: Mapping[str, MatchInStores], state: str) -> tuple[str, ...]:
    return tuple(sorted(match_id for match_id, record in records.items() if getattr(record, state) != "ended"))
