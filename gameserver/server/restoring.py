"""Brings a stored match back to life; one that cannot be is ended instead of being tried for a day."""

from __future__ import annotations

import time
from typing import Final

import structlog

from gameserver.cluster.store import MatchStore, StoredMatch
from gameserver.match import Match, UnknownVersion
from gameserver.server.metrics import Metrics

log = structlog.get_logger()

_ATTEMPTS: Final = 3
"""Over all servers."""

_ATTEMPTS_OF_VERSION: Final = 200
"""For a snapshot by another version: servers of that version may be on their way in. About 5 minutes."""


class Unreadable(Exception):
    """The match cannot be restored here and now."""


async def restore(stored: StoredMatch, store: MatchStore, tick_rate_hz: int, metrics: Metrics) -> Match:
    """The match as it was; or, after too many attempts, one that has ended with reason `aborted`.

    Raises:
        Unreadable: its lease should be left to expire, so that no other server tries at once.
        redis.exceptions.RedisError
    """
    spec = stored.spec
    try:
        return Match.restore(spec, tick_rate_hz, stored.snapshot, stored.events)
    except (LookupError, ValueError) as error:
        attempt = await store.count_unreadable(spec.match_id)
        log.error("match_unreadable", match_id=spec.match_id, attempt=attempt, error=str(error))
        attempts = _ATTEMPTS_OF_VERSION if isinstance(error, UnknownVersion) else _ATTEMPTS
        # Rules that are missing here may be installed elsewhere, and without them there is no match to end.
        if isinstance(error, LookupError) or attempt < attempts:
            raise Unreadable(spec.match_id) from error
    log.error("match_aborted", match_id=spec.match_id, attempts=attempt)
    metrics.matches_failed += 1
    return Match.aborted(spec, tick_rate_hz, stored.committed, time.time_ns() // 1_000_000)
