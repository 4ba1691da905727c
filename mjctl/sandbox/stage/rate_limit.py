"""Counts requests for a rate-based rule of AWS WAF.

A rate-based rule limits the number of requests in a time window. AWS compares this number with the limit about every
ten seconds, so the limit takes effect with a delay, usually of less than 30 seconds. The stage compares every ten
seconds. AWS gives more weight to recent requests, but the stage gives the same weight to all requests in the window.

https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-caveats.html
"""

from __future__ import annotations

from collections import Counter

CHECK_SECONDS = 10


class RequestRate:
    """Counts requests by a key, e.g. the address of the client."""

    def __init__(self, limit: int, window_seconds: int) -> None:
        """Create a counter that has counted no request.

        Args:
            limit: The largest number of requests with the same key that pass in a time window.
            window_seconds: The length of the time window.
        """
        self._limit = limit
        self._periods = max(1, window_seconds // CHECK_SECONDS)
        self._counts: dict[int, Counter[tuple[str, ...]]] = {}
        self._limited: frozenset[tuple[str, ...]] = frozenset()
        self._checked = -1

    def exceeded(self, key: tuple[str, ...], now: float) -> bool:
        """Count a request with `key`, and return whether `key` was above the limit at the last comparison."""
        period = int(now // CHECK_SECONDS)
        if period != self._checked:
            self._compare(period)
        self._counts.setdefault(period, Counter())[key] += 1
        return key in self._limited

    def _compare(self, period: int) -> None:
        self._checked = period
        self._counts = {p: counts for p, counts in self._counts.items() if period - self._periods <= p}
        totals: Counter[tuple[str, ...]] = Counter()
        for counts in self._counts.values():
            totals.update(counts)
        self._limited = frozenset(key for key, total in totals.items() if total > self._limit)
