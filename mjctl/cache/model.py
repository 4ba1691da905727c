"""Defines the operations on a cache and the types of their results. The name of a key is `<namespace>:<key>`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gameserver.cache import CacheKey, CacheStats, HotKeys, PatternResult, SweepProgress
from mjctl.models.errors import UsageError

OnProgress = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class KeyListing:
    """Lists keys of the cache, sorted by name.

    Attributes:
        keys: the keys.
        truncated: whether more keys match the pattern than the listing contains.
        foreign_namespaces: number of entries that were skipped in the cache's set of namespaces, because they are no
            valid namespaces.
    """

    keys: tuple[CacheKey, ...]
    truncated: bool
    foreign_namespaces: int = 0

    @classmethod
    def by_name(cls, keys: dict[str, CacheKey], *, truncated: bool, foreign_namespaces: int = 0) -> KeyListing:
        """Create a listing from a dictionary of keys by name, in any order."""
        return cls(tuple(keys[name] for name in sorted(keys)), truncated, foreign_namespaces)


@dataclass(frozen=True)
class CachedValue:
    """Describes the value of a key of the cache.

    Attributes:
        key: the key.
        exists: whether the key exists, with any value, including null.
        value: the decoded value of the key; None if the key does not exist.
        ttl_seconds: remaining time to live of the key in seconds; None if the key does not exist.
    """

    key: str
    exists: bool
    value: Any = None
    ttl_seconds: float | None = None


@dataclass(frozen=True)
class NamespaceResult:
    """Describes the invalidation of a namespace.

    Attributes:
        namespace: the name of the namespace.
        keys: number of keys that were invalidated, or that would be invalidated without `dry_run`.
        generation: the new generation number of the namespace; None for a dry run and for a namespace that does not
            exist.
        dry_run: True if the keys were only counted.
    """

    namespace: str
    keys: int
    generation: int | None
    dry_run: bool


@dataclass(frozen=True)
class FlushResult:
    """Describes the result of a flush.

    Attributes:
        keys: number of keys that were removed, or that would be removed in a dry run.
        foreign_namespaces: number of entries that were skipped in the cache's set of namespaces, because they are no
            valid namespaces.
    """

    keys: int
    foreign_namespaces: int


class Access(Protocol):
    """Defines the operations on a cache, which behave like the methods of `gameserver.cache.DistributedCache`."""

    async def stats(self) -> CacheStats: ...

    async def hot_keys(self, *, seconds: int, limit: int) -> HotKeys: ...

    async def list_keys(self, pattern: str, *, limit: int, sizes: bool) -> KeyListing: ...

    async def value(self, namespace: str, key: str) -> CachedValue: ...

    async def ttl(self, namespace: str, key: str) -> float | None: ...

    async def expire(self, namespace: str, key: str, ttl_seconds: float) -> bool: ...

    async def invalidate(self, namespace: str, key: str) -> bool: ...

    async def invalidate_namespace(self, namespace: str) -> int: ...

    async def invalidate_pattern(
        self,
        pattern: str,
        *,
        dry_run: bool = False,
        max_keys_per_second: float | None = None,
        resume_token: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> PatternResult: ...

    async def flush(self, *, on_progress: OnProgress | None = None) -> int: ...

    async def foreign_namespaces(self) -> int: ...


def matches_everything(pattern: str) -> bool:
    """Return True if a pattern consists of wildcards only, and therefore can match every key."""
    return not re.sub(r"\[[^]]*\]", "?", pattern).strip("*?:")


def split_name(name: str) -> tuple[str, str]:
    """Split the name of a key, e.g. `profile:abc`, into namespace and key (`profile`, `abc`).

    Raises:
        UsageError: the name has no namespace or no key.
    """
    namespace, colon, key = name.partition(":")
    if not (namespace and colon and key):
        raise UsageError(
            f"`{name}` is not a key of the cache", hint="a key has the form <namespace>:<key>, e.g. profile:3f2a"
        )
    return namespace, key
