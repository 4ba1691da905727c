"""The operations on a cache, and the types of their results. Keys are logical: `<namespace>:<key>`."""

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
    """Keys by name.

    Attributes:
        truncated: the limit cut the list off.
        foreign_namespaces: members of the cache's set of namespaces that are none, and were skipped.
    """

    keys: tuple[CacheKey, ...]
    truncated: bool
    foreign_namespaces: int = 0

    @classmethod
    def by_name(cls, keys: dict[str, CacheKey], *, truncated: bool, foreign_namespaces: int = 0) -> KeyListing:
        """Sort keys by their name."""
        return cls(tuple(keys[name] for name in sorted(keys)), truncated, foreign_namespaces)


@dataclass(frozen=True)
class CachedValue:
    """The value of one key. `found` is false if the key is absent; a stored null has `found` true."""

    key: str
    found: bool
    value: Any = None
    ttl_seconds: float | None = None


@dataclass(frozen=True)
class NamespaceResult:
    """A namespace whose `keys` became unreadable at once; `generation` is None for a dry run."""

    namespace: str
    keys: int
    generation: int | None
    dry_run: bool


@dataclass(frozen=True)
class FlushResult:
    """The result of a flush.

    Attributes:
        keys: how many keys were removed, or would be.
        foreign_namespaces: members of the cache's set of namespaces that are none, and were skipped.
    """

    keys: int
    foreign_namespaces: int


class Access(Protocol):
    """The operations on a cache. They behave as those of `gameserver.cache.DistributedCache`."""

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
    """Return True if a pattern consists of wildcards only, so that it can match every key."""
    return not re.sub(r"\[[^]]*\]", "?", pattern).strip("*?:")


def split_name(name: str) -> tuple[str, str]:
    """`profile:abc` -> (`profile`, `abc`).

    Raises:
        UsageError: there is no namespace or no key.
    """
    namespace, colon, key = name.partition(":")
    if not (namespace and colon and key):
        raise UsageError(f"`{name}` is not a key of the cache", hint="a key is <namespace>:<key>, e.g. profile:3f2a")
    return namespace, key
