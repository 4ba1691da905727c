"""Token buckets, one per caller, in the memory of this process.

Limits across processes are the firewall's and the API gateway's; these keep one caller from using up one process, and
slow down the guessing of one account's password wherever it comes from.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gameserver.functions.http import HttpError

_MAX_BUCKETS = 50_000


class RateLimit:
    """Allows `burst` calls at once and `per_second` in the long run, for each key."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        max_keys: int = _MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_keys = max_keys
        self._clock = clock
        # key -> (tokens left, when); the least recently used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one call.

        Raises:
            ApiError: 429 with the seconds to wait.
        """
        now = self._clock()
        tokens, then = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - tokens) / self._per_second)
            raise HttpError(429, "too_many_requests", "too many requests, try again later", retry_after_seconds=wait)
