"""Stores matches, results and statistics of players in PostgreSQL.

An event takes effect once, also if it arrives twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from gameserver.events import (
    DeliveredEvent,
    MatchEnded,
    MatchStarted,
    PlayerChatted,
    PlayerJoined,
    PlayerLeft,
    PlayerScored,
    StoredEvent,
)
from gameserver.persistence.database import Database
from gameserver.persistence.histories import Histories

log = structlog.get_logger()

_CLAIM = """
INSERT INTO processed_events (event_id, digest) SELECT * FROM unnest($1::text[], $2::bytea[])
ON CONFLICT DO NOTHING RETURNING event_id
"""
# A worker of version 0.1.0 stored no digests.
_CLAIMED = """
SELECT event_id, digest FROM processed_events WHERE event_id = ANY($1::text[]) AND digest IS NOT NULL
"""
# The queue does not keep the order of events, so each event creates the row of its match if the row is missing.
_ENSURE_MATCH = """
INSERT INTO matches (match_id, region, server_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_STARTED = """
UPDATE matches SET mode = $2, seats = $3, started_at = coalesce(started_at, to_timestamp($4 / 1000.0)),
    internal = internal OR $5
WHERE match_id = $1
"""
_JOINED = """
INSERT INTO match_players (match_id, player_id, display_name, joined_at, joined_sequence)
VALUES ($1, $2, $3, to_timestamp($4 / 1000.0), $5)
ON CONFLICT (match_id, player_id) DO UPDATE SET
    display_name = coalesce(match_players.display_name, excluded.display_name),
    joined_sequence = CASE
        WHEN match_players.joined_at <= excluded.joined_at THEN match_players.joined_sequence
        ELSE excluded.joined_sequence END,
    joined_at = least(match_players.joined_at, excluded.joined_at)
"""
_LEFT = """
INSERT INTO match_players (match_id, player_id, left_at, left_sequence)
VALUES ($1, $2, to_timestamp($3 / 1000.0), $4)
ON CONFLICT (match_id, player_id) DO UPDATE SET
    left_sequence = CASE
        WHEN match_players.left_at >= excluded.left_at THEN match_players.left_sequence
        ELSE excluded.left_sequence END,
    left_at = greatest(match_players.left_at, excluded.left_at)
"""
# A row of `match_players` with a rank has the final score, so an event `player.scored` that arrives later must not
# change it. If two scores of a player arrive in the wrong order, the score of the newer event stays.
_SCORED = """
INSERT INTO match_players (match_id, player_id, score, score_sequence) VALUES ($1, $2, $3, $4)
ON CONFLICT (match_id, player_id) DO UPDATE SET score = excluded.score, score_sequence = excluded.score_sequence
WHERE match_players.rank IS NULL
  AND coalesce(match_players.score_sequence, -1) < excluded.score_sequence
"""
_CHATTED = """
INSERT INTO chat_messages (match_id, sequence, player_id, sent_at, sealed, epoch)
VALUES ($1, $2, $3, to_timestamp($4 / 1000.0), $5, $6) ON CONFLICT DO NOTHING
"""
_REPORTED = """
INSERT INTO match_events (match_id, sequence, type, occurred_at, payload, epoch)
VALUES ($1, $2, $3, to_timestamp($4 / 1000.0), $5, $6) ON CONFLICT DO NOTHING
"""
_ENDED = """
UPDATE matches SET
    state = 'ended', mode = $2, reason = $3, server_id = $4,
    started_at = to_timestamp($5 / 1000.0), ended_at = to_timestamp($6 / 1000.0), internal = $7, ended_sequence = $8
WHERE match_id = $1 AND state <> 'ended'
RETURNING match_id
"""
_FINAL = """
INSERT INTO match_players (match_id, player_id, display_name, score, rank) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (match_id, player_id) DO UPDATE SET
    display_name = excluded.display_name, score = excluded.score, rank = excluded.rank
"""
_STANDINGS = """
INSERT INTO {table} AS standing (player_id, matches, wins, total_score, best_score) VALUES ($1, 1, $2, $3, $3)
ON CONFLICT (player_id) DO UPDATE SET
    matches = standing.matches + 1,
    wins = standing.wins + excluded.wins,
    total_score = standing.total_score + excluded.total_score,
    best_score = greatest(standing.best_score, excluded.best_score),
    updated_at = now()
"""
# The statistics of probe and load-test accounts have a separate table, so that no query about players includes them.
_PLAYERS_STANDINGS = _STANDINGS.format(table="player_stats")
_INTERNAL_STANDINGS = _STANDINGS.format(table="internal_stats")
# Ids of events are kept for 30 days, which is longer than the queue (4 days) and its dead-letter queue (14 days) can
# delay a message.
_PRUNE = """
DELETE FROM processed_events WHERE event_id IN (
    SELECT event_id FROM processed_events WHERE processed_at < now() - interval '30 days' LIMIT 10000)
"""


# Moderators do not need chat lines that are older than 30 days.
_PRUNE_CHAT = "DELETE FROM chat_messages WHERE sent_at < now() - interval '30 days'"


# Matches of probes and load tests are kept for a day, in which an operator can examine them.
_PRUNE_INTERNAL = (
    "DELETE FROM matches WHERE internal AND recorded_at < now() - interval '1 day'",
    "DELETE FROM internal_stats WHERE updated_at < now() - interval '1 day'",
)


@dataclass(frozen=True)
class Stats:
    """Holds a player's statistics over all ended matches.

    Attributes:
        matches: number of ended matches of the player.
        wins: number of matches in which the player had rank 1.
        total_score: sum of the player's scores in all ended matches.
        best_score: highest score of the player in one match.
    """

    matches: int = 0
    wins: int = 0
    total_score: int = 0
    best_score: int = 0


@dataclass(frozen=True)
class Applied:
    """Describes what became of a batch of events.

    Attributes:
        written: ids of the events that were written.
        void: ids of the events that have no effect, because a newer owner of their match has recorded other events with
            their sequence numbers.
        reused: ids of the events that were not written, because another event with the same id was written before.
        withdrawn: ids of the players whose statistics no longer include a result, because the result is void.
    """

    written: frozenset[str] = frozenset()
    void: frozenset[str] = frozenset()
    reused: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()


class Results:
    """Reads and writes matches and statistics. All methods raise DatabaseUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, events: Sequence[DeliveredEvent]) -> Applied:
        """Write events in one transaction. Events that were written before, and void events, are skipped.

        Raises:
            asyncpg.PostgresError: no event was written, because PostgreSQL refuses one of the events, or ended a
                deadlock with another worker by aborting this transaction.
        """
        # All workers lock rows in the same order, so of two batches with the same rows one waits for the other without
        # a deadlock.
        ordered = sorted(events, key=lambda event: (event.match_id, event.sequence, event.epoch))
        async with self._database.transaction() as connection:
            unseen, reused = await _claim(connection, ordered)
            for event in {event.match_id: event for event in unseen}.values():
                await connection.execute(_ENSURE_MATCH, event.match_id, event.region, event.server_id)
            histories = await Histories.load(connection, ordered, unseen)
            for event in unseen:
                if not histories.is_void(event):
                    await _write(connection, event)
        void = frozenset(event.event_id for event in ordered if histories.is_void(event))
        written = frozenset(event.event_id for event in unseen) - void
        return Applied(written, void, reused, frozenset(histories.withdrawn))

    async def stats(self, player_id: str) -> Stats:
        """Return the statistics of a player.

        The statistics of an account of a probe or load test cover its internal matches.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """SELECT matches, wins, total_score, best_score FROM player_stats WHERE player_id = $1
                   UNION ALL
                   SELECT matches, wins, total_score, best_score FROM internal_stats WHERE player_id = $1""",
                player_id,
            )
        return Stats(**row) if row else Stats()

    async def leaders(self, limit: int) -> list[tuple[str, Stats]]:
        """Return the `limit` players with the highest total scores, the best first, as (player id, statistics)."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """SELECT player_id, matches, wins, total_score, best_score FROM player_stats
                   ORDER BY total_score DESC, player_id LIMIT $1""",
                limit,
            )
        return [(row["player_id"], Stats(*tuple(row)[1:])) for row in rows]

    async def prune(self) -> int:
        """Delete old rows: chat lines after 30 days, internal matches after a day, and ids of events after 30 days.

        A call deletes at most 10,000 ids of events.

        Returns:
            The number of deleted ids of events.
        """
        async with self._database.connection() as connection:
            await connection.execute(_PRUNE_CHAT)
            for statement in _PRUNE_INTERNAL:
                await connection.execute(statement)
            status: str = await connection.execute(_PRUNE)
        return int(status.rsplit(" ", 1)[-1])


async def _claim(connection: Any, events: Sequence[DeliveredEvent]) -> tuple[list[DeliveredEvent], frozenset[str]]:
    """Store the ids of events.

    Returns:
        The first event of each id that was not stored before, and the ids that stand for two different events.
    """
    first: dict[str, DeliveredEvent] = {}
    reused = set()
    for event in events:
        if first.setdefault(event.event_id, event).digest != event.digest:
            reused.add(event.event_id)
    ids = sorted(first)
    rows = await connection.fetch(_CLAIM, ids, [first[name].digest for name in ids])
    claimed = {row["event_id"] for row in rows}
    known = [name for name in ids if name not in claimed]
    for row in await connection.fetch(_CLAIMED, known) if known else []:
        if row["digest"] != first[row["event_id"]].digest:
            reused.add(row["event_id"])
    return [event for name, event in first.items() if name in claimed], frozenset(reused)


async def _write(connection: Any, event: StoredEvent) -> None:
    match_id = event.match_id
    number = event.sequence if event.epoch else None
    match event.payload:
        case MatchStarted(mode=mode, seats=seats, internal=internal):
            await connection.execute(_STARTED, match_id, mode, seats, event.occurred_at_ms, internal)
        case PlayerJoined(player_id=player_id, display_name=name):
            await connection.execute(_JOINED, match_id, player_id, name, event.occurred_at_ms, number)
        case PlayerLeft(player_id=player_id):
            await connection.execute(_LEFT, match_id, player_id, event.occurred_at_ms, number)
        case PlayerScored(player_id=player_id, score=score):
            await connection.execute(_SCORED, match_id, player_id, score, event.sequence)
        case PlayerChatted(player_id=player_id, sealed=sealed):
            line = (player_id, event.occurred_at_ms, sealed, event.epoch)
            await connection.execute(_CHATTED, match_id, event.sequence, *line)
        case MatchEnded() as ended:
            await _write_result(connection, event, ended)
        case payload:
            text = msgspec.json.encode(payload).decode()
            values = (event.type, event.occurred_at_ms, text, event.epoch)
            await connection.execute(_REPORTED, match_id, event.sequence, *values)


async def _write_result(connection: Any, event: StoredEvent, ended: MatchEnded) -> None:
    times = ended.started_at_ms, ended.ended_at_ms
    number = event.sequence if event.epoch else None
    first = await connection.fetchval(
        _ENDED, event.match_id, ended.mode, ended.reason, event.server_id, *times, ended.internal, number
    )
    if first is None:
        # A result of an older epoch is void before the result of a newer epoch is written. If a second result arrives
        # nevertheless, the statistics must not count it.
        log.error("second_result_ignored", match_id=event.match_id, event_id=event.event_id)
        return
    players = sorted(ended.players, key=lambda player: player.player_id)
    await connection.executemany(
        _FINAL, [(event.match_id, p.player_id, p.display_name, p.score, p.rank) for p in players]
    )
    standings = _INTERNAL_STANDINGS if ended.internal else _PLAYERS_STANDINGS
    await connection.executemany(standings, [(p.player_id, int(p.rank == 1), p.score) for p in players])
