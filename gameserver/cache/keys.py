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
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from redis.exceptions import ResponseError

NAMESPACES_KEY: Final = "cache-namespaces"
MAX_KEY_BYTES: Final = 512
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,32}\Z")
_VALUE_KEY = re.compile(rb"cache:\{([a-z0-9_-]{1,32})\}:([0-9]+):(.+)\Z", re.DOTALL)
# An escaped character, or the beginning of a class that is negated in the way of fnmatch or of Redis.
_ESCAPE_OR_NEGATION = re.compile(r"\\(.)|\[[!^]", re.DOTALL)


class InvalidName(ValueError):
    """A namespace, key, pattern, time to live or resume token that the caller gave is malformed."""


class ForeignValue(ResponseError):
    """Redis holds something under one of the cache's names that the cache did not write.

    Attributes:
        name: the logical key, or the physical name of a control key.
        found: what Redis holds there, e.g. `a hash`.
    """

    def __init__(self, name: str, found: str) -> None:
        super().__init__(f"`{name}` holds {found}, which the cache did not write")
        self.name = name
        self.found = found


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

    `foreign_namespaces`: members of the cache's set of namespaces that are none, and were skipped.
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
    foreign_namespaces: int = 0

    @property
    def keys_per_second(self) -> float:
        return self.matched / self.seconds if self.seconds else 0.0


def check_namespace(namespace: str) -> str:
    """Return `namespace`, or raise InvalidName: 1 to 32 characters of a-z, 0-9, `_` and `-`."""
    if not _NAMESPACE.match(namespace):
        raise InvalidName(f"invalid cache namespace {namespace!r}: expected 1 to 32 of a-z, 0-9, _ and -")
    return namespace


def check_key(key: str) -> str:
    """Return `key`, or raise InvalidName: 1 to 512 bytes of UTF-8."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidName("invalid cache key: it is not UTF-8; --pattern with ? reaches such keys") from None
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidName(f"invalid cache key: expected 1 to {MAX_KEY_BYTES} bytes")
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
    """A glob over logical keys: `profile:*`, `prof*:a?c`; without a colon it names whole namespaces.

    `!` or `^` after `[` negates a class, in the namespace and in the key alike.
    """

    text: str
    namespace_glob: str
    key_glob: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises InvalidName for an empty pattern or part."""
        namespace_glob, colon, key_glob = text.partition(":")
        if not namespace_glob or (colon and not key_glob):
            raise InvalidName(f"invalid pattern {text!r}: expected <namespace>:<key> with * and ? as wildcards")
        return cls(text, namespace_glob, key_glob if colon else "*")

    def select(self, namespaces: list[str]) -> tuple[str, ...]:
        # fnmatch negates a class with !, and has no backslash: a class of one character says the same.
        glob = _ESCAPE_OR_NEGATION.sub(lambda part: f"[{part[1]}]" if part[1] else "[!", self.namespace_glob)
        return tuple(sorted(name for name in namespaces if fnmatch.fnmatchcase(name, glob)))

    def physical(self, namespace: str, generation: str) -> str:
        # Redis negates a class with ^ only.
        glob = _ESCAPE_OR_NEGATION.sub(lambda part: part[0] if part[1] else "[^", self.key_glob)
        return f"{value_prefix(namespace)}{generation}:{glob}"


def split_value_key(physical: bytes) -> tuple[str, str, str] | None:
    """`cache:{ns}:gen:key` -> (ns, gen, key); None for a key that the cache did not write.

    Bytes that are not UTF-8 become lone surrogates, so that two binary keys never have the same name.
    """
    parts = _VALUE_KEY.match(physical)
    if parts is None:
        return None
    namespace, generation, key = parts.groups()
    return namespace.decode(), generation.decode(), key.decode(errors="surrogateescape")


def is_foreign(physical: bytes) -> bool:
    """Return True if a key has the prefix of cached values but was not written by the cache."""
    return physical.startswith(b"cache:") and not _VALUE_KEY.match(physical)


def split_namespaces(members: Iterable[bytes]) -> tuple[list[str], int]:
    """The namespaces among the members of NAMESPACES_KEY, sorted, and the number of members that are none."""
    names = []
    foreign = 0
    for member in members:
        name = member.decode(errors="replace")
        if _NAMESPACE.match(name):
            names.append(name)
        else:
            foreign += 1
    return sorted(names), foreign
