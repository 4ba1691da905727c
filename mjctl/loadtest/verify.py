"""Verifies after a load test that PostgreSQL and DynamoDB contain each match once, with all players of the match."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

from mjctl.clients.boto import RegionClients
from mjctl.clients.records import MatchInStores, PlayerTotals, read_matches, read_standings
from mjctl.loadtest.model import EndedMatch, LoadTally, Verification
from mjctl.models.contract import Contract

_LOOK_INTERVAL_SECONDS = 0.25


async def verify(contract: Contract, tally: LoadTally, *, settle_seconds: float) -> Verification:
    """Read PostgreSQL and DynamoDB until both contain all matches of the load test, for `settle_seconds` at most.

    PostgreSQL and DynamoDB must contain each match that a bot has started, or after an interruption each match whose
    end a bot has seen. The bots are new players without earlier matches, so their standings show whether a match was
    counted twice.

    Raises:
        UnreachableError: PostgreSQL or DynamoDB does not answer.
    """
    wanted = sorted(tally.ended if tally.interrupted else tally.started)
    players = sorted(tally.signed_up.values())
    began = time.monotonic()
    with RegionClients(contract) as clients:
        while True:
            records = await read_matches(contract, clients, wanted)
            # If the load test was interrupted, do not compare the standings, because the abandoned matches end later
            # and change the standings.
            standings = None if tally.interrupted else await read_standings(contract, clients, players)
            verification = judge(records, standings, tally.ended, waited_seconds=time.monotonic() - began)
            if verification.complete or verification.waited_seconds >= settle_seconds:
                return verification
            await asyncio.sleep(_LOOK_INTERVAL_SECONDS)


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
