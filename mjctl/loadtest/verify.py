"""Verifies after a load test that the stores contain each match once, with all of its players."""

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
    """Read PostgreSQL and DynamoDB until both stores contain all matches, for `settle_seconds` at most.

    The stores must contain each match that was started, or after an interruption each match whose end a bot has seen.
    The players' standings show whether a match was counted twice, because the bots are new players.

    Raises:
        UnreachableError: a store does not answer.
    """
    wanted = sorted(tally.ended if tally.interrupted else tally.started)
    players = sorted(tally.signed_up.values())
    began = time.monotonic()
    with RegionClients(contract) as clients:
        while True:
            records = await read_matches(contract, clients, wanted)
            # After an interruption the running matches end later, and would then change the standings.
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
        records: match id -> the match in PostgreSQL and DynamoDB.
        standings: player id -> totals in PostgreSQL; None to skip the comparison of the standings.
        seen: match id -> the end of the match as a bot saw it.
        waited_seconds: waiting time until now, which becomes part of the result.
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
