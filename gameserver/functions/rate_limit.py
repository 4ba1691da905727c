"""Limits the calls of each caller by token buckets that all processes share.

Each process also keeps a token bucket for each caller in its memory. The bucket in memory refuses most calls of a flood
without a call of DynamoDB, and still limits the caller while DynamoDB does not answer.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from gameserver.functions.http import HttpError
from gameserver.persistence.tables import TablesUnavailable

if TYPE_CHECKING:
    from gameserver.persistence.call_counts import CallCounts

log = structlog.get_logger()

_MAX_BUCKETS = 50_000


class RateLimit:
    """Limits the calls for each key. A key is for example a network address or the id of a player.

    Args:
        name: name of the limit. Each limit counts separately.
        per_second: average number of calls that a key may make in a second.
        burst: number of calls that a key may make at once after a pause.
        shared: returns the counts that all processes share, or None if the process counts alone.
        max_keys: number of keys that the process remembers. With more than `max_keys` keys, the process forgets the
            least recently used keys first.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        per_second: float,
        burst: int,
        shared: Callable[[], CallCounts | None] = lambda: None,
        max_keys: int = _MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._per_second = per_second
        self._burst = burst
        self._shared = shared
        self._max_keys = max_keys
        self._clock = clock
        # Key of a caller -> tokens in the caller's bucket at its last call, and the time of the call. The first key is
        # the least recently used key.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, *parts: str) -> None:
        """Count a call of the key that `parts` form together.

        While DynamoDB does not answer, only the bucket in memory limits the key. Calls of players then still
        succeed, and no process accepts more calls of a key than the limit.

        Raises:
            HttpError: 429, with the seconds after which the client shall retry.
        """
        key = "\n".join(parts)
        wait = self._take_here(key)
        counts = self._shared() if not wait else None
        if counts is not None:
            try:
                wait = await counts.take(self._name, key, per_second=self._per_second, burst=self._burst)
            except TablesUnavailable as error:
                log.warning("rate_limit_not_shared", limit=self._name, cause=str(error))
            else:
                self._refuse_here(key, wait)
        if wait:
            raise HttpError(
                429,
                "too_many_requests",
                "too many requests, try again later",
                retry_after_seconds=max(1, math.ceil(wait)),
            )

    def _take_here(self, key: str) -> float:
        """Take a token from the bucket in memory. Return 0, or the seconds until the bucket has a token."""
        now = self._clock()
        tokens, then = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_second

    def _refuse_here(self, key: str, wait: float) -> None:
        """Make the bucket in memory refuse calls for `wait` seconds, as the shared bucket would."""
        if wait and key in self._buckets:
            self._buckets[key] = (1 - wait * self._per_second, self._clock())
