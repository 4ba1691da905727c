"""The distributed cache: values in Redis that all servers share. A key belongs to a namespace.

Once a call of an `invalidate` method has returned, no server answers a new read with a value from before the
invalidation. A caller must first write to the source of truth, and then invalidate. Three mechanisms keep a new read
from returning an old value:

* Each namespace has a generation, a number that is part of the name of each value in Redis. A read gets the generation
  and the value of that generation in one atomic step.
* A near-cache answers from the memory of its process only while a short lease lasts. An invalidation returns only after
  all leases of near-caches have expired that were given before the invalidation (module `near`).
* A server that loads a missing value holds a load lease for the key. An invalidation ends the load leases of its keys.
  If the load lease ends before the value is loaded, the caller gets the value, but the cache does not store it.

A failover of Redis can lose acknowledged writes, and among them invalidations. After a lost invalidation, the old value
can be read until its time to live ends.
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
