"""The distributed cache for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.asyncio import Redis

from gameserver.cache.distributed import DistributedCache, OnProgress
from gameserver.cache.keys import CacheKey, PatternResult
from gameserver.cache.stats import CacheStats

T = TypeVar("T")


class SyncDistributedCache:
    """Offers the methods of `DistributedCache` as blocking calls. All methods are thread-safe.

    A thread of this object runs an event loop with a `DistributedCache`. Each method raises what the method of the same
    name in `DistributedCache` raises. Use the cache as a context manager, or call `close`.

    Args:
        url: address of Redis, `redis://`, `rediss://` or `unix://`.
        default_ttl_seconds: see `DistributedCache`.
        jitter: see `DistributedCache`.
        lease_seconds: see `DistributedCache`.
        near_namespaces: see `DistributedCache`.
        connection: further arguments of `redis.asyncio.Redis.from_url`, e.g. `password`, `socket_timeout` in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        default_ttl_seconds: float = 300,
        jitter: float = 0.1,
        lease_seconds: float = 5.0,
        near_namespaces: Collection[str] = (),
        **connection: Any,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cache", daemon=True)
        self._thread.start()
        self._redis: Redis = Redis.from_url(url, **{"socket_timeout": 5, "socket_connect_timeout": 2, **connection})
        self._cache = DistributedCache(
            self._redis,
            default_ttl_seconds=default_ttl_seconds,
            jitter=jitter,
            lease_seconds=lease_seconds,
            near_namespaces=near_namespaces,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. A second call of `close` does nothing."""
        if self._loop.is_closed():
            return
        self._run(self._redis.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, namespace: str, key: str, value: Any, ttl_seconds: float | None = None) -> None:
        """Store a value, see `DistributedCache.set`."""
        self._run(self._cache.set(namespace, key, value, ttl_seconds))

    def get(self, namespace: str, key: str, default: Any = None) -> Any:
        """Return a value or `default`, see `DistributedCache.get`."""
        return self._run(self._cache.get(namespace, key, default))

    def get_or_load(self, namespace: str, key: str, loader: Callable[[], Any], ttl_seconds: float | None = None) -> Any:
        """Return a value, and load it if it is absent, see `DistributedCache.get_or_load`.

        `loader` is an ordinary function, not a coroutine, and runs on a thread.
        """
        return self._run(
            self._cache.get_or_load(namespace, key, lambda: asyncio.to_thread(loader), ttl_seconds=ttl_seconds)
        )

    def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a key, see `DistributedCache.invalidate`. Returns True if the key existed."""
        return self._run(self._cache.invalidate(namespace, key))

    def invalidate_many(self, names: Iterable[tuple[str, str]]) -> int:
        """Remove keys, each given as (namespace, key), and return how many of them existed."""
        return self._run(self._cache.invalidate_many(names))

    def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool:
        """Set the time to live of a key in seconds. Returns True if the key exists."""
        return self._run(self._cache.expire(namespace, key, ttl_seconds))

    def ttl(self, namespace: str, key: str) -> float | None:
        """Return the seconds until a key expires, or None if the key does not exist."""
        return self._run(self._cache.ttl(namespace, key))

    def invalidate_namespace(self, namespace: str) -> int:
        """Make every key of a namespace unreadable at once, and return the new generation."""
        return self._run(self._cache.invalidate_namespace(namespace))

    def invalidate_pattern(
        self,
        pattern: str,
        *,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
    ) -> PatternResult:
        """Remove every key that matches a glob, see `DistributedCache.invalidate_pattern`.

        The thread of this object's event loop calls `on_progress`.
        """
        return self._run(
            self._cache.invalidate_pattern(
                pattern,
                dry_run=dry_run,
                on_progress=on_progress,
                max_keys_per_second=max_keys_per_second,
                resume_token=resume_token,
            )
        )

    def reclaim(self, pattern: str = "*", *, max_keys_per_second: float | None = None) -> PatternResult:
        """Free the memory of unreadable values, see `DistributedCache.reclaim`."""
        return self._run(self._cache.reclaim(pattern, max_keys_per_second=max_keys_per_second))

    def scan(self, pattern: str, *, sizes: bool = False) -> Iterator[CacheKey]:
        """Yield the keys that match a glob, see `DistributedCache.scan`."""
        keys = self._cache.scan(pattern, sizes=sizes)
        try:
            while (key := self._run(_next_or_none(keys))) is not None:
                yield key
        finally:
            self._run(keys.aclose())  # type: ignore[attr-defined]

    def flush(self) -> int:
        """Empty all namespaces, and return the number of removed keys."""
        return self._run(self._cache.flush())

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces that were ever used, sorted."""
        return self._run(self._cache.namespaces())

    def stats(self) -> CacheStats:
        """Measure the size, the hit ratio and the memory of the cache."""
        return self._run(self._cache.stats())

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            # A KeyboardInterrupt ends only the wait for `future`. Without `cancel`, the call itself, for example a
            # sweep, would continue on the thread of the event loop.
            future.cancel()
            raise


async def _next_or_none(keys: Any) -> CacheKey | None:
    key: CacheKey | None = await anext(keys, None)
    return key
