"""Defines the names of the cache's keys in Redis, the patterns over them, and the results of the cache's methods.

A logical key is the name that callers use: `<namespace>:<key>`. A physical key is a name in Redis. A control key is a
physical key that holds no cached value. The hash tag `{<namespace>}` puts all keys of a namespace into one hash slot.

* `cache-namespaces`: the set of all namespaces that were ever used.
* `cache-gen:{<namespace>}`: the generation of the namespace.
* `cache-epoch:{<namespace>}`: a number whose increase ends all load leases of the namespace.
* `cache-near:{<namespace>}`: a Redis hash with the namespace's token for the near-caches, and whether any near-cache
  may have a lease.
* `cache:{<namespace>}:<generation>:<key>`: a value.
* `cache-lease:{<namespace>}:<generation>:<epoch>:<key>`: a load lease, whose value is the token of the load in
  progress.
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
"""Physical name of the set of namespaces."""

MAX_KEY_BYTES: Final = 512
"""Largest length of a key without its namespace, in bytes of UTF-8."""

_NAMESPACE = re.compile(r"[a-z0-9_-]{1,32}\Z")
_VALUE_KEY = re.compile(rb"cache:\{([a-z0-9_-]{1,32})\}:([0-9]+):(.+)\Z", re.DOTALL)
# Matches an escaped character, or the beginning of a negated class: `[!` of fnmatch or `[^` of Redis.
_ESCAPE_OR_NEGATION = re.compile(r"\\(.)|\[[!^]", re.DOTALL)


class InvalidName(ValueError):
    """Reports that a caller gave a namespace, key, pattern, time to live or resume token that is not valid."""


class ForeignValue(ResponseError):
    """Reports that a key of the cache has a value in Redis that another program wrote.

    Attributes:
        name: the logical key, or the physical name of a control key.
        content: the kind of value in Redis, e.g. `a hash`.
    """

    def __init__(self, name: str, content: str) -> None:
        super().__init__(f"`{name}` holds {content}, which the cache did not write")
        self.name = name
        self.content = content


class _Miss(Enum):
    MISS = "MISS"

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS: Final = _Miss.MISS
"""A default that no value equals: `get(namespace, key, default=MISS)` returns it for an absent key only."""


@dataclass(frozen=True)
class CacheKey:
    """Describes a key in the cache.

    Attributes:
        namespace: namespace of the key.
        key: name of the value in the namespace.
        ttl_seconds: seconds until the value expires, or None for a value of another program that never expires.
        size_bytes: memory of the key and its value in Redis, or None if it was not measured.
    """

    namespace: str
    key: str
    ttl_seconds: float | None
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        """Return the logical key `<namespace>:<key>`."""
        return f"{self.namespace}:{self.key}"


@dataclass(frozen=True)
class SweepProgress:
    """Describes how far a sweep has advanced.

    Attributes:
        namespace: the namespace that is swept now.
        scanned: number of keys in Redis that the sweep has examined. A key counts once for each swept namespace.
        total: number of keys in Redis, multiplied by the number of namespaces to sweep.
        matched: number of keys that match the glob.
        removed: number of keys that were removed.
        seconds: time since the sweep began.
        resume_token: token for a call that continues the sweep from this point after a cancellation.
    """

    namespace: str
    scanned: int
    total: int
    matched: int
    removed: int
    seconds: float
    resume_token: str


@dataclass(frozen=True)
class PatternResult:
    """Holds the result of a sweep.

    Attributes:
        pattern: the glob of the sweep.
        namespaces: the namespaces of the sweep, with those that a stopped sweep did not reach.
        dry_run: True if the sweep removed nothing.
        scanned: number of keys in Redis that the sweep has examined. A key counts once for each swept namespace.
        matched: number of keys that match the glob.
        removed: number of keys that were removed.
        seconds: duration of the sweep.
        probe_p50_ms: median round trip of a PING during the sweep, in milliseconds; also the delay of the game's Redis
            commands.
        probe_p99_ms: 99th percentile of the round trips of a PING during the sweep, in milliseconds.
        total: number of keys in Redis, multiplied by the number of namespaces to sweep.
        resume_token: token for a call that continues the sweep, which stopped because its time was over; None if the
            sweep is complete.
        rest_seconds: seconds to wait before the call that continues the sweep, so that both calls together keep the
            limit of keys per second.
        foreign_namespaces: number of entries in the set of namespaces that were skipped, because they are no valid
            names.
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
        """Return the number of keys that matched the glob in each second of the sweep, on average."""
        return self.matched / self.seconds if self.seconds else 0.0


def check_namespace(namespace: str) -> str:
    """Return `namespace`.

    Raises:
        InvalidName: `namespace` does not have 1 to 32 characters of a-z, 0-9, `_` and `-`.
    """
    if not _NAMESPACE.match(namespace):
        raise InvalidName(f"invalid cache namespace {namespace!r}: expected 1 to 32 of a-z, 0-9, _ and -")
    return namespace


def check_key(key: str) -> str:
    """Return `key`.

    Raises:
        InvalidName: `key` does not have 1 to 512 bytes of UTF-8.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidName("invalid cache key: it is not UTF-8; --pattern with ? reaches such keys") from None
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidName(f"invalid cache key: expected 1 to {MAX_KEY_BYTES} bytes")
    return key


def generation_key(namespace: str) -> str:
    """Return the physical name of the key that holds a namespace's generation."""
    return f"cache-gen:{{{namespace}}}"


def epoch_key(namespace: str) -> str:
    """Return the physical name of the key that holds a namespace's epoch."""
    return f"cache-epoch:{{{namespace}}}"


def near_key(namespace: str) -> str:
    """Return the physical name of the key that holds the token of a namespace's near-caches."""
    return f"cache-near:{{{namespace}}}"


def value_prefix(namespace: str) -> str:
    """Return the beginning of the physical names of a namespace's values."""
    return f"cache:{{{namespace}}}:"


def lease_prefix(namespace: str) -> str:
    """Return the beginning of the physical names of a namespace's load leases."""
    return f"cache-lease:{{{namespace}}}:"


@dataclass(frozen=True)
class Pattern:
    """Describes a glob over logical keys, for example `profile:*` or `prof*:a?c`.

    A pattern without a colon matches all keys of the namespaces whose names match. Both `[!abc]` and `[^abc]` match a
    character other than a, b and c, in the namespace and in the key.

    Attributes:
        text: the pattern as the caller gave it.
        namespace_glob: the part of the pattern before the colon, for the namespace.
        key_glob: the part of the pattern after the colon, for the key; `*` without a colon.
    """

    text: str
    namespace_glob: str
    key_glob: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Parse a pattern.

        Raises:
            InvalidName: the pattern, its namespace or its key is empty.
        """
        namespace_glob, colon, key_glob = text.partition(":")
        if not namespace_glob or (colon and not key_glob):
            raise InvalidName(f"invalid pattern {text!r}: expected <namespace>:<key> with * and ? as wildcards")
        return cls(text, namespace_glob, key_glob if colon else "*")

    def select(self, namespaces: list[str]) -> tuple[str, ...]:
        """Return the namespaces that match, sorted."""
        # fnmatch negates a class of characters with `!` only, so `[^` becomes `[!`. fnmatch has no escape by a
        # backslash, so `\*` becomes the class `[*]`.
        glob = _ESCAPE_OR_NEGATION.sub(lambda part: f"[{part[1]}]" if part[1] else "[!", self.namespace_glob)
        return tuple(sorted(name for name in namespaces if fnmatch.fnmatchcase(name, glob)))

    def physical(self, namespace: str, generation: str) -> str:
        """Return the glob over the physical keys of a namespace's values in a generation."""
        # Redis negates a class of characters with `^` only, so `[!` becomes `[^`.
        glob = _ESCAPE_OR_NEGATION.sub(lambda part: part[0] if part[1] else "[^", self.key_glob)
        return f"{value_prefix(namespace)}{generation}:{glob}"


def split_value_key(physical: bytes) -> tuple[str, str, str] | None:
    """Split the physical key of a value, `cache:{<namespace>}:<generation>:<key>`.

    Bytes that are not UTF-8 become lone surrogates, so that two binary keys never have the same name.

    Returns:
        (namespace, generation, key), or None if the cache did not write this key.
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
    """Split the members of the set `NAMESPACES_KEY`.

    Returns:
        The valid names of namespaces, sorted, and the number of members that are no valid names.
    """
    names = []
    foreign = 0
    for member in members:
        name = member.decode(errors="replace")
        if _NAMESPACE.match(name):
            names.append(name)
        else:
            foreign += 1
    return sorted(names), foreign
