"""The distributed cache: namespaces of keys on Redis, true on every server.

What it promises: once an `invalidate*` call has returned, no read that begins afterwards, on any server, answers with a
value from before. Write the source of truth first, then invalidate. Three things make that hold:

* Every read asks Redis in one step for the namespace's generation and for the key under that generation.
* Where a namespace is read through a near-cache, that answers only under a short lease, and an invalidation ends no
  sooner than the leases given before it (`near`).
* A load that a miss started holds a lease. Every invalidation ends the leases it covers, and a load whose lease has
  ended is handed to its caller but not stored.

A failover of Redis that loses acknowledged writes loses invalidations too; the time to live then bounds the error.
"""

from gameserver.cache.blocking import SyncDistributedCache
from gameserver.cache.distributed import DistributedCache
from gameserver.cache.hot import HotKey, HotKeys
from gameserver.cache.keys import MISS, CacheKey, ForeignValue, InvalidName, PatternResult, SweepProgress
from gameserver.cache.stats import CacheCounters, CacheStats, LargeKey, NamespaceStats

__all__ = [
    "MISS",
    "CacheCounters",
    "CacheKey",
    "CacheStats",
    "DistributedCache",
    "ForeignValue",
    "HotKey",
    "HotKeys",
    "InvalidName",
    "LargeKey",
    "NamespaceStats",
    "PatternResult",
    "SweepProgress",
    "SyncDistributedCache",
]
