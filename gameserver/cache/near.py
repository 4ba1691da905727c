"""The near-cache: values in this process, so true that an invalidation needs not tell anybody (docs/decisions/0004).

A process may answer from its memory only while it holds a lease of the namespace, 50 ms long. Every read that goes to
Redis brings a new lease along with its value, and the namespace's token; another token than before means that something
was invalidated, and everything kept is dropped. An invalidation changes the token and then waits until every lease that
was given before has run out. No process has to be known, reached or waited for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

# All processes that share a Redis must agree on it: whoever invalidates waits for the others' leases.
LEASE_SECONDS: Final = 0.05
# Longer than a lease by more than any two clocks drift apart within one; both sides measure by their own.
OUTLIVE_SECONDS: Final = 1.2 * LEASE_SECONDS
# Bounds what is served after Redis has lost an invalidation (a failover) or a sweep was killed half-way.
_MAX_AGE_SECONDS = 5.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds of a clock that never jumps and, where there is one, also runs while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


@dataclass
class _Lease:
    token: bytes
    ends_at: float
    # key -> (value, when it ends); the least recently used first.
    entries: OrderedDict[str, tuple[bytes, float]] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def drop(self, key: str) -> None:
        payload, _ = self.entries.pop(key, (b"", 0.0))
        self.size_bytes -= len(payload)


class NearCache:
    """Encoded values of `namespaces`, at most `max_bytes` of them for each namespace."""

    def __init__(self, namespaces: Collection[str], max_bytes: int) -> None:
        self.namespaces = frozenset(namespaces)
        self._max_bytes = max_bytes
        self._leases: dict[str, _Lease] = {}

    def get(self, namespace: str, key: str) -> bytes | None:
        """The value if this process may still answer with it."""
        lease = self._leases.get(namespace)
        if lease is None:
            return None
        payload, ends_at = lease.entries.get(key, (None, 0.0))
        # Looked at last: a process that was stopped must not go on with an answer from before.
        if payload is None or clock() >= min(ends_at, lease.ends_at):
            return None
        lease.entries.move_to_end(key)
        return payload

    def keep(
        self, namespace: str, key: str, payload: bytes | None, *, ttl_ms: int, token: bytes, asked_at: float
    ) -> None:
        """Take over what Redis answered to a question sent at `asked_at`, a time of `clock`.

        Answers may be taken over in another order than Redis gave them: each is true for its own lease.
        """
        lease = self._leases.get(namespace)
        if lease is None or lease.token != token:
            lease = self._leases[namespace] = _Lease(token, asked_at + LEASE_SECONDS)
        else:
            # A token is never given twice, so nothing was invalidated between the two answers.
            lease.ends_at = max(lease.ends_at, asked_at + LEASE_SECONDS)
        lease.drop(key)
        if payload is None or len(payload) > self._max_bytes:
            return
        lease.entries[key] = (payload, asked_at + min(_MAX_AGE_SECONDS, ttl_ms / 1000))
        lease.size_bytes += len(payload)
        while lease.size_bytes > self._max_bytes:
            lease.drop(next(iter(lease.entries)))
