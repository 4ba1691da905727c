"""Keeps the epochs of each match, and undoes what an owner wrote after the point at which a newer owner continued.

A failover of the state store can lose the newest events of a match although they were published. The next owner then
continues from an earlier event. The events that the earlier owner published from this point on are *void*: an owner
with a higher epoch has recorded other events with their sequence numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog

from gameserver.events import StoredEvent

log = structlog.get_logger()

# Two workers can have events of different epochs of one match. The lock of the match's row makes one of them wait until
# the other has committed. A lock of the mode FOR UPDATE would also block inserts of rows that refer to the match.
_LOCK = "SELECT match_id FROM matches WHERE match_id = ANY($1::text[]) ORDER BY match_id FOR NO KEY UPDATE"
_EPOCHS = "SELECT match_id, epoch, first_sequence, withdrawn FROM match_epochs WHERE match_id = ANY($1::text[])"
_ADD = "INSERT INTO match_epochs (match_id, epoch, first_sequence) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"

# Game servers of version 0.1.0 record no epoch, and their events are never void. Their rows have no sequence number in
# the columns `ended_sequence`, `joined_sequence` and `left_sequence`, and the epoch 0.
_REOPEN = """
UPDATE matches SET state = 'running', reason = NULL, ended_at = NULL, ended_sequence = NULL
WHERE match_id = $1 AND state = 'ended' AND ended_sequence >= $2 AND ended_sequence < $3
RETURNING internal
"""
_RANKED = "SELECT player_id, score, rank FROM match_players WHERE match_id = $1 AND rank IS NOT NULL ORDER BY player_id"
_DROP_ONLY_STANDING = "DELETE FROM {table} WHERE player_id = $1 AND matches <= 1"
_REDUCE_STANDING = """
UPDATE {table} SET
    matches = matches - 1, wins = wins - $2, total_score = total_score - $3, updated_at = now(),
    best_score = (
        SELECT coalesce(max(score), 0) FROM match_players JOIN matches USING (match_id)
        WHERE player_id = $1 AND rank IS NOT NULL AND match_id <> $4 AND internal = $5)
WHERE player_id = $1
"""
_UNRANK = "UPDATE match_players SET rank = NULL, score = 0, score_sequence = NULL WHERE match_id = $1"
_UNDO = (
    """DELETE FROM match_players
       WHERE match_id = $1 AND rank IS NULL AND joined_sequence >= $2 AND joined_sequence < $3""",
    # The result of a later epoch can arrive before the first event of an epoch in the middle.
    """UPDATE match_players SET joined_at = NULL, joined_sequence = NULL
       WHERE match_id = $1 AND joined_sequence >= $2 AND joined_sequence < $3""",
    """UPDATE match_players SET left_at = NULL, left_sequence = NULL
       WHERE match_id = $1 AND left_sequence >= $2 AND left_sequence < $3""",
    # The next score of the player, or the result of the match, sets the score again.
    """UPDATE match_players SET score = 0, score_sequence = NULL
       WHERE match_id = $1 AND rank IS NULL AND score_sequence >= $2 AND score_sequence < $3""",
)
_UNDO_ROWS = (
    "DELETE FROM chat_messages WHERE match_id = $1 AND epoch > 0 AND epoch < $2 AND sequence >= $3",
    "DELETE FROM match_events WHERE match_id = $1 AND epoch > 0 AND epoch < $2 AND sequence >= $3",
)
_REMEMBER = "UPDATE match_epochs SET withdrawn = $3 WHERE match_id = $1 AND epoch = $2"
_NO_END: Final = 2**63 - 1


class Histories:
    """Decides which events of some matches are void.

    Attributes:
        withdrawn: ids of the players whose statistics no longer include a result, because an epoch of the batch made
            the result void. An event that is delivered again has the same players, so that their statistics leave the
            cache although the process ended after it had withdrawn the result.
    """

    def __init__(self) -> None:
        self._starts: dict[str, dict[int, int]] = {}
        self.withdrawn: set[str] = set()

    def is_void(self, event: StoredEvent) -> bool:
        """Return True if an owner with a higher epoch has begun at or before the event."""
        if event.epoch == 0:
            return False
        starts = self._starts.get(event.match_id, {})
        return any(epoch > event.epoch and event.sequence >= first for epoch, first in starts.items())

    @classmethod
    async def load(cls, connection: Any, events: Iterable[StoredEvent], new: Sequence[StoredEvent]) -> Histories:
        """Lock the matches of `events`, record the epochs of `new`, and undo the events that these epochs make void.

        Args:
            connection: a connection to PostgreSQL with an open transaction.
            events: all events of a batch.
            new: the events of the batch that are stored for the first time. Their matches have rows.
        """
        histories = cls()
        names = sorted({event.match_id for event in events})
        await connection.execute(_LOCK, names)
        delivered = {(event.match_id, event.epoch) for event in events}
        for row in await connection.fetch(_EPOCHS, names):
            histories._starts.setdefault(row["match_id"], {})[row["epoch"]] = row["first_sequence"]
            if (row["match_id"], row["epoch"]) in delivered:
                histories.withdrawn.update(row["withdrawn"])
        epochs = {(event.match_id, event.epoch): event.epoch_start for event in new if event.epoch}
        for (match_id, epoch), first in sorted(epochs.items()):
            starts = histories._starts.setdefault(match_id, {})
            if epoch not in starts:
                await histories._add(connection, match_id, epoch, first)
                starts[epoch] = first
        return histories

    async def _add(self, connection: Any, match_id: str, epoch: int, first: int) -> None:
        starts = self._starts[match_id]
        await connection.execute(_ADD, match_id, epoch, first)
        # Rows from the first event of the next known epoch on belong to that epoch or to a later one.
        end = min((start for other, start in starts.items() if other > epoch), default=_NO_END)
        if not starts or first >= end:
            return
        if withdrawn := await self._withdraw_result(connection, match_id, first, end):
            self.withdrawn.update(withdrawn)
            await connection.execute(_REMEMBER, match_id, epoch, withdrawn)
        for statement in _UNDO:
            await connection.execute(statement, match_id, first, end)
        for statement in _UNDO_ROWS:
            await connection.execute(statement, match_id, epoch, first)

    async def _withdraw_result(self, connection: Any, match_id: str, first: int, end: int) -> list[str]:
        """Take a void result out of the players' statistics, and return the ids of the players."""
        internal = await connection.fetchval(_REOPEN, match_id, first, end)
        if internal is None:
            return []
        log.warning("result_withdrawn", match_id=match_id, from_sequence=first)
        table = "internal_stats" if internal else "player_stats"
        ranked = await connection.fetch(_RANKED, match_id)
        for player_id, score, rank in ranked:
            await connection.execute(_DROP_ONLY_STANDING.format(table=table), player_id)
            await connection.execute(
                _REDUCE_STANDING.format(table=table), player_id, int(rank == 1), score, match_id, internal
            )
        await connection.execute(_UNRANK, match_id)
        return [player_id for player_id, _, _ in ranked]
