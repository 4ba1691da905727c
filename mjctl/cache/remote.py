"""Reads and changes a private cache by invocations of the ops function.

A search through many keys takes several invocations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from gameserver.cache import CacheKey, CacheStats, HotKeys, PatternResult, SweepProgress
from mjctl.cache.model import CachedValue, KeyListing, OnProgress
from mjctl.clients.ops_function import SLICE_SECONDS, OpsFunction
from mjctl.models.contract import Contract
from mjctl.models.errors import RefusedError, UsageError

_LARGEST_LISTING = 10_000
"""Number of keys that fit into the 6 MB of an answer from Lambda."""


class RemoteCache:
    """Reads and changes a private cache by the ops function. The methods raise the errors of `OpsFunction.run`."""

    def __init__(self, contract: Contract, function: OpsFunction) -> None:
        self._contract = contract
        self._function = function

    async def stats(self) -> CacheStats:
        """Return the number of keys, the memory and the hit rates of the cache."""
        return msgspec.convert(await self._function.run("stats"), CacheStats)

    async def hot_keys(self, *, seconds: int, limit: int) -> HotKeys:
        """Watch the cache for `seconds`, and return up to `limit` of the keys that are read most."""
        return msgspec.convert(await self._function.run("hot_keys", seconds=seconds, limit=limit), HotKeys)

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
        """List the keys of the cache that match a pattern.

        Args:
            pattern: glob that must match `<namespace>:<key>`.
            limit: maximum number of keys in the list.
            sizes: whether to read the size of each key's value.

        Raises:
            UsageError: `limit` is larger than 10,000, the number of keys that an answer of the ops function can
                contain.
        """
        if limit > _LARGEST_LISTING:
            raise UsageError(
                f"cannot list more than {_LARGEST_LISTING} keys of a private cache",
                hint=f"narrow the pattern, or use --limit {_LARGEST_LISTING}",
            )
        answer = await self._function.run("keys", pattern=pattern, limit=limit, sizes=sizes)
        keys = msgspec.convert(answer["keys"], list[CacheKey])
        return KeyListing.by_name({key.name: key for key in keys}, truncated=not answer["complete"])

    async def foreign_namespaces(self) -> int:
        """Return the number of entries in the cache's set of namespaces that are no valid namespaces."""
        return (await self.stats()).foreign_namespaces

    async def value(self, namespace: str, key: str) -> CachedValue:
        """Refuse to read a value, because the ops function returns no values.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(
            "the values of a private cache cannot be shown: they are players' data, and the ops function does not "
            "return them",
            where=f"{self._contract.environment}, {self._contract.region}, {namespace}:{key}",
            hint="`mjctl cache ttl NAMESPACE:KEY` shows whether the key exists, and `mjctl cache keys --sizes` shows "
            "the size of its value",
        )

    async def ttl(self, namespace: str, key: str) -> float | None:
        """Return the remaining time to live of a key in seconds, or None if the key does not exist."""
        left: float | None = (await self._function.run("ttl", namespace=namespace, key=key))["ttl_seconds"]
        return left

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool:
        """Set the time to live of a key of the cache. Returns: whether the key exists."""
        answer = await self._function.run("expire", namespace=namespace, key=key, ttl_seconds=ttl_seconds)
        return bool(answer["found"])

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a key from the cache. Returns: whether the key existed."""
        return bool((await self._function.run("invalidate", namespace=namespace, key=key))["found"])

    async def invalidate_namespace(self, namespace: str) -> int:
        """Invalidate all keys of a namespace. Returns: the new generation number of the namespace."""
        return int((await self._function.run("invalidate_namespace", namespace=namespace))["generation"])

    async def invalidate_pattern(
        self,
        pattern: str,
        *,
        dry_run: bool = False,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> PatternResult:
        """Remove all keys of the cache that match a pattern, by one or more invocations of the ops function.

        If the caller cancels the call, no further invocation of the ops function starts, and a running invocation ends
        within `SLICE_SECONDS`.
        """
        arguments = {"pattern": pattern, "dry_run": dry_run, "max_keys_per_second": max_keys_per_second}
        return await self._sweep("invalidate_pattern", arguments, resume_token, on_progress)

    async def flush(self, *, on_progress: OnProgress | None = None) -> int:
        """Remove all keys of the cache from Redis. Returns: the number of removed keys."""
        return (await self._sweep("flush", {}, None, on_progress)).removed

    async def _sweep(
        self, command: str, arguments: dict[str, Any], resume_token: str | None, on_progress: OnProgress | None
    ) -> PatternResult:
        """Invoke the ops function until all keys are processed, with the pauses that its answers request."""
        parts: list[PatternResult] = []
        token = resume_token
        while True:
            answer = await self._function.run(command, resume_token=token, seconds=SLICE_SECONDS, **arguments)
            parts.append(msgspec.convert(answer, PatternResult))
            whole = _together(parts)
            token = whole.resume_token
            if token is None:
                return whole
            if on_progress is not None:
                counts = whole.scanned, whole.total, whole.matched, whole.removed
                on_progress(SweepProgress(token.rpartition(":")[0], *counts, whole.seconds, token))
            await asyncio.sleep(parts[-1].rest_seconds)


def _together(parts: Sequence[PatternResult]) -> PatternResult:
    first, last = parts[0], parts[-1]
    return replace(
        last,
        namespaces=first.namespaces,
        total=first.total,
        scanned=min(first.total, sum(part.scanned for part in parts)),
        matched=sum(part.matched for part in parts),
        removed=sum(part.removed for part in parts),
        seconds=sum(part.seconds + part.rest_seconds for part in parts),
        probe_p50_ms=max(part.probe_p50_ms for part in parts),
        probe_p99_ms=max(part.probe_p99_ms for part in parts),
    )
