"""Names of the cache's keys in Redis, patterns over logical keys, and the types its operations answer with.

Logical key `<namespace>:<key>`. In Redis, all of a namespace in one hash slot:

    cache-namespaces                                  set of the namespaces ever used
    cache-gen:{<namespace>}                           the namespace's generation
    cache-epoch:{<namespace>}                         raised to end every lease of the namespace
    cache-near:{<namespace>}                          token of the near-caches, and whether they may hold anything
    cache:{<namespace>}:<generation>:<key>            a value
    cache-lease:{<namespace>}:<generation>:<epoch>:<key>   token of the one load under way
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

NAMESPACES_KEY: Final = "cache-namespaces"
MAX_KEY_BYTES: Final = 512
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,32}\Z")


class _Miss(Enum):
    MISS = "MISS"

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


# Tells a key that is absent from one that holds None: `get(namespace, key, default=MISS)`.
MISS: Final = _Miss.MISS


@dataclass(frozen=True)
class CacheKey:
    """One key that is in the cache. `size_bytes` is what Redis spends on it, when that was asked for."""

    namespace: str
    key: str
    ttl_seconds: float | None
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        return f"{self.namespace}:{self.key}"


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep has come. `resume_token` continues it from here after a cancellation."""

    namespace: str
    scanned: int
    total: int
    matched: int
    removed: int
    seconds: float
    resume_token: str


@dataclass(frozen=True)
class PatternResult:
    """What a sweep did; `scanned` of `total` keys were looked at. `probe_p99_ms`: round trip of a PING beside it, which
    is what live clients felt.

    `resume_token`: it stopped because its time was up; the next one goes on from there, and not sooner than after
    `rest_seconds`, or together they are faster than the pace that was asked for.
    """

    pattern: str
    namespaces: tuple[str, ...]
    dry_run: bool
    scanned: int
    matched: int
    removed: int
    seconds: float
    probe_p50_ms: float
    probe_p99_ms: float
    total: int = 0
    resume_token: str | None = None
    rest_seconds: float = 0.0

    @property
    def keys_per_second(self) -> float:
        return self.matched / self.seconds if self.seconds else 0.0


def check_namespace(namespace: str) -> str:
    """Return `namespace`, or raise ValueError: 1 to 32 characters of a-z, 0-9, `_` and `-`."""
    if not _NAMESPACE.match(namespace):
        raise ValueError(f"invalid cache namespace {namespace!r}: expected 1 to 32 of a-z, 0-9, _ and -")
    return namespace


def check_key(key: str) -> str:
    """Return `key`, or raise ValueError: 1 to 512 bytes of UTF-8."""
    if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"invalid cache key: expected 1 to {MAX_KEY_BYTES} bytes")
    return key


def generation_key(namespace: str) -> str:
    return f"cache-gen:{{{namespace}}}"


def epoch_key(namespace: str) -> str:
    return f"cache-epoch:{{{namespace}}}"


def near_key(namespace: str) -> str:
    return f"cache-near:{{{namespace}}}"


def value_prefix(namespace: str) -> str:
    return f"cache:{{{namespace}}}:"


def lease_prefix(namespace: str) -> str:
    return f"cache-lease:{{{namespace}}}:"


@dataclass(frozen=True)
class Pattern:
    """A glob over logical keys: `profile:*`, `prof*:a?c`; without a colon it names whole namespaces."""

    text: str
    namespace_glob: str
    key_glob: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises ValueError for an empty pattern or part."""
        namespace_glob, colon, key_glob = text.partition(":")
        if not namespace_glob or (colon and not key_glob):
            raise ValueError(f"invalid pattern {text!r}: expected <namespace>:<key> with * and ? as wildcards")
        return cls(text, namespace_glob, key_glob if colon else "*")

    def select(self, namespaces: list[str]) -> tuple[str, ...]:
        # Redis negates a class with ^, fnmatch with !.
        glob = self.namespace_glob.replace("[^", "[!")
        return tuple(sorted(name for name in namespaces if fnmatch.fnmatchcase(name, glob)))

    def physical(self, namespace: str, generation: str) -> str:
        return f"{value_prefix(namespace)}{generation}:{self.key_glob}"


def split_value_key(physical: bytes) -> tuple[str, str, str]:
    """`cache:{ns}:gen:key` -> (ns, gen, key)."""
    namespace, generation, key = physical.decode(errors="replace").removeprefix("cache:{").split(":", 2)
    return namespace.removesuffix("}"), generation, key
