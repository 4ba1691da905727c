"""Limits the calls of each caller by token buckets in the memory of this process.

The firewall and the API gateway limit callers across processes. The token buckets keep a caller from using all time of
a process, and slow down the guessing of an account's password from one address.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gameserver.functions.http import HttpError

_MAX_BUCKETS = 50_000


class RateLimit:
    """Limits the calls for each key. A key is for example a network address or the id of a player.

    Args:
        per_second: average number of calls that a key may make in a second.
        burst: number of calls that a key may make at once after a pause.
        max_keys: number of keys to remember. With more than `max_keys` keys, the least recently used keys are forgotten
            first.
        clock: function that returns the time in seconds.
    """

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
        # Key of a caller -> tokens in the caller's bucket at its last call, and the time of the call. The first key is
        # the least recently used key.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, *parts: str) -> None:
        """Count a call of the key that `parts` form together.

        Raises:
            HttpError: 429, with the seconds after which the client shall retry.
        """
        key = "\n".join(parts)
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
