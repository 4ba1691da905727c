"""A cache behind the ops function: every operation an invocation, and a long sweep one after another."""

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
"""What fits into the 6 MB of one answer."""


class RemoteCache:
    """One region's cache through its ops function. Raises what `OpsFunction.run` raises."""

    def __init__(self, contract: Contract, function: OpsFunction) -> None:
        self._contract = contract
        self._function = function

    async def stats(self) -> CacheStats:
        return msgspec.convert(await self._function.run("stats"), CacheStats)

    async def hot_keys(self, *, seconds: int, limit: int) -> HotKeys:
        return msgspec.convert(await self._function.run("hot_keys", seconds=seconds, limit=limit), HotKeys)

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing:
        """Raises UsageError for more keys than one answer can hold."""
        if limit > _LARGEST_LISTING:
            raise UsageError(
                f"through the ops function, {_LARGEST_LISTING} keys at most are listed",
                hint=f"narrow the pattern, or use --limit {_LARGEST_LISTING}",
            )
        answer = await self._function.run("keys", pattern=pattern, limit=limit, sizes=sizes)
        found = msgspec.convert(answer["keys"], list[CacheKey])
        return KeyListing.by_name({key.name: key for key in found}, truncated=not answer["complete"])

    async def foreign_namespaces(self) -> int:
        return (await self.stats()).foreign_namespaces

    async def value(self, namespace: str, key: str) -> CachedValue:
        raise RefusedError(
            "values of a private cache are not shown: they are the players', and the ops function reads none",
            where=f"{self._contract.environment}, {self._contract.region}, {namespace}:{key}",
            hint="`mjctl cache ttl NAMESPACE:KEY` and `mjctl cache keys --sizes` say whether it is there and how large",
        )

    async def ttl(self, namespace: str, key: str) -> float | None:
        left: float | None = (await self._function.run("ttl", namespace=namespace, key=key))["ttl_seconds"]
        return left

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool:
        answer = await self._function.run("expire", namespace=namespace, key=key, ttl_seconds=ttl_seconds)
        return bool(answer["found"])

    async def invalidate(self, namespace: str, key: str) -> bool:
        return bool((await self._function.run("invalidate", namespace=namespace, key=key))["found"])

    async def invalidate_namespace(self, namespace: str) -> int:
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
        """Cancelled, it stops between two invocations; the one under way ends by itself within `SLICE_SECONDS`."""
        arguments = {"pattern": pattern, "dry_run": dry_run, "max_keys_per_second": max_keys_per_second}
        return await self._sweep("invalidate_pattern", arguments, resume_token, on_progress)

    async def flush(self, *, on_progress: OnProgress | None = None) -> int:
        return (await self._sweep("flush", {}, None, on_progress)).removed

    async def _sweep(
        self, command: str, arguments: dict[str, Any], resume_token: str | None, on_progress: OnProgress | None
    ) -> PatternResult:
        """Invoke until nothing is left, with what each invocation says of the pace in between."""
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
