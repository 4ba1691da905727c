"""The near-cache: values in the memory of a process, in front of Redis (docs/decisions/0004).

A process may answer from its near-cache only while it holds a lease for the namespace. A lease lasts 50 ms. Each read
from Redis returns a new lease and the namespace's token, beside the value. If the token has changed, a key of the
namespace was invalidated, and the process drops all values of the namespace from its memory.

If any near-cache may hold a lease for the namespace, an invalidation changes the namespace's token. The invalidation
then waits until every lease has expired that was given before the change of the token. An invalidation sends no message
to other processes and does not need to know them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

LEASE_SECONDS: Final = 0.05
"""Length of a near-cache's lease. All processes that share a Redis must use the same length, because an invalidation
waits until the leases of all processes have expired."""

OUTLIVE_SECONDS: Final = 1.2 * LEASE_SECONDS
"""Time in seconds for which an invalidation waits, so that the leases of other processes expire.

Each process measures time by its own clock. The wait is 20 % longer than a lease, which is more than the clocks of two
hosts can drift apart during a lease.
"""

# The near-cache drops each value after 5 s, because the value can be old after a lost invalidation. A failover of Redis
# can lose an invalidation, and so can the end of a process during an invalidation's sweep.
_MAX_AGE_SECONDS = 5.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return the seconds of a clock that never jumps. On Linux this clock also runs while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


@dataclass
class _Lease:
    token: bytes
    ends_at: float
    # Maps each key to its encoded value and the time of `clock` at which the value expires. The least recently used key
    # is first.
    entries: OrderedDict[str, tuple[bytes, float]] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def drop(self, key: str) -> None:
        payload, _ = self.entries.pop(key, (b"", 0.0))
        self.size_bytes -= len(payload)


class NearCache:
    """Keeps encoded values in the memory of this process.

    Args:
        namespaces: namespaces whose values are kept.
        max_bytes: memory for the values of each namespace. The least recently used values are dropped first.
    """

    def __init__(self, namespaces: Collection[str], max_bytes: int) -> None:
        self.namespaces = frozenset(namespaces)
        self._max_bytes = max_bytes
        self._leases: dict[str, _Lease] = {}

    def get(self, namespace: str, key: str) -> bytes | None:
        """Return the encoded value, or None if it is not in this near-cache or the lease has expired."""
        lease = self._leases.get(namespace)
        if lease is None:
            return None
        payload, ends_at = lease.entries.get(key, (None, 0.0))
        # Look the value up before reading the clock. If the clock were read first, a process that is suspended after
        # reading the clock could return an old value when it resumes.
        if payload is None or clock() >= min(ends_at, lease.ends_at):
            return None
        lease.entries.move_to_end(key)
        return payload

    def keep(
        self, namespace: str, key: str, payload: bytes | None, *, ttl_ms: int, token: bytes, asked_at: float
    ) -> None:
        """Keep an answer of Redis, and renew the lease of the namespace.

        Answers may be kept in any order, because each answer is valid only for its own lease.

        Args:
            namespace: namespace of the key.
            key: name of the value in the namespace.
            payload: the encoded value, or None if the key does not exist.
            ttl_ms: time to live of the value in Redis, in milliseconds.
            token: the namespace's token from the answer of Redis.
            asked_at: time of `clock` before the read was sent to Redis, in seconds.
        """
        lease = self._leases.get(namespace)
        if lease is None or lease.token != token:
            lease = self._leases[namespace] = _Lease(token, asked_at + LEASE_SECONDS)
        else:
            # The first invalidation after an answer sets a token that was never used before. Two answers of Redis with
            # equal tokens show that no key of the namespace was invalidated between the answers.
            lease.ends_at = max(lease.ends_at, asked_at + LEASE_SECONDS)
        lease.drop(key)
        if payload is None or len(payload) > self._max_bytes:
            return
        lease.entries[key] = (payload, asked_at + min(_MAX_AGE_SECONDS, ttl_ms / 1000))
        lease.size_bytes += len(payload)
        while lease.size_bytes > self._max_bytes:
            lease.drop(next(iter(lease.entries)))
