"""Restores a stored match. A match that cannot be restored is ended after a few attempts, and not after the day for
which Redis keeps it."""

from __future__ import annotations

import time
from typing import Final

import structlog

from gameserver.cluster.store import MatchStore, StoredMatch
from gameserver.match import Match, UnknownVersion
from gameserver.server.metrics import Metrics

log = structlog.get_logger()

_ATTEMPTS: Final = 3
"""Attempts of all servers together, after which a match that cannot be read is ended."""

_ATTEMPTS_OF_VERSION: Final = 200
"""Attempts of all servers together to restore a snapshot that another version of the game wrote. The attempts take
about 5 minutes, in which servers of the other version may start."""


class Unreadable(Exception):
    """Reports that this server cannot restore the match at the moment."""


async def restore(stored: StoredMatch, store: MatchStore, tick_rate_hz: int, metrics: Metrics) -> Match:
    """Restore a match from its snapshot and the events after it.

    Returns:
        The match in its last stored state, or after too many attempts a match that has ended with the reason `aborted`.

    Raises:
        Unreadable: the match could not be restored. After `Unreadable` the caller lets the match's lease expire, so
            that no other server tries to restore the match at once.
        redis.exceptions.RedisError: Redis does not answer.
    """
    spec = stored.spec
    try:
        # Redis can have an older snapshot than the last published event. The worker would take a new event with the
        # sequence number of a published event for a redelivery.
        return Match.restore(spec, tick_rate_hz, stored.snapshot, stored.events, used_sequence=stored.committed)
    except (LookupError, ValueError) as error:
        attempt = await store.count_unreadable(spec.match_id)
        log.error("match_unreadable", match_id=spec.match_id, attempt=attempt, error=str(error))
        attempts = _ATTEMPTS_OF_VERSION if isinstance(error, UnknownVersion) else _ATTEMPTS
        # A LookupError means that this server does not have the match's rules module. Another server may have the
        # match's rules module, and without the module this server cannot even end the match.
        if isinstance(error, LookupError) or attempt < attempts:
            raise Unreadable(spec.match_id) from error
    log.error("match_aborted", match_id=spec.match_id, attempts=attempt)
    metrics.matches_failed += 1
    return Match.aborted(spec, tick_rate_hz, stored.committed, time.time_ns() // 1_000_000)
