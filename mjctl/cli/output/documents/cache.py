"""The documents of `mjctl cache` and `mjctl queue`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, FailedRegionDocument, JsonDocument


class NamespaceStatsDocument(JsonDocument):
    name: str
    generation: int | None
    keys: int
    stale_keys: int
    memory_bytes: int
    memory_error_bytes: int


class LargeKeyDocument(JsonDocument):
    name: str
    size_bytes: int


class RegionCacheStatsDocument(JsonDocument):
    region: str
    namespaces: tuple[NamespaceStatsDocument, ...]
    largest: tuple[LargeKeyDocument, ...]
    estimated: bool = Field(description="the figures of the namespaces come from `sampled_keys` keys")
    sampled_keys: int
    total_keys: int
    hits: int
    misses: int
    hit_ratio: float | None
    memory_bytes: int
    max_memory_bytes: int = Field(description="0: no limit")
    evicted_keys: int
    expired_keys: int
    clients: int
    server_version: str
    uptime_seconds: int
    foreign_keys: int
    foreign_namespaces: int
    larger_share: float = Field(description="at most this share of all keys is larger than the first of `largest`")


class CacheStatsDocument(Envelope):
    """cache stats."""

    regions: tuple[RegionCacheStatsDocument | FailedRegionDocument, ...]


class HotKeyDocument(JsonDocument):
    name: str
    busy_seconds: int
    frequency: int | None


class RegionHotKeysDocument(JsonDocument):
    region: str
    keys: tuple[HotKeyDocument, ...]
    seconds: int
    sampled_keys: int
    total_keys: int
    missed_percent: float


class HotKeysDocument(Envelope):
    """cache hot."""

    regions: tuple[RegionHotKeysDocument | FailedRegionDocument, ...]


class CacheKeyDocument(JsonDocument):
    namespace: str
    key: str
    ttl_seconds: float | None
    size_bytes: int | None = Field(description="null without --sizes")


class RegionKeysDocument(JsonDocument):
    region: str
    keys: tuple[CacheKeyDocument, ...]
    truncated: bool = Field(description="--limit cut the list off")
    foreign_namespaces: int


class KeysDocument(Envelope):
    """cache keys."""

    regions: tuple[RegionKeysDocument | FailedRegionDocument, ...]


class RegionValueDocument(JsonDocument):
    region: str
    key: str
    found: bool
    value: Any
    ttl_seconds: float | None


class ValueDocument(Envelope):
    """cache get."""

    regions: tuple[RegionValueDocument | FailedRegionDocument, ...]


class RegionTtlDocument(JsonDocument):
    region: str
    key: str
    ttl_seconds: float | None = Field(description="null: the key is not in the cache")


class TtlDocument(Envelope):
    """cache ttl."""

    regions: tuple[RegionTtlDocument | FailedRegionDocument, ...]


class RegionExpireDocument(JsonDocument):
    region: str
    key: str
    found: bool


class ExpireDocument(Envelope):
    """cache expire."""

    regions: tuple[RegionExpireDocument | FailedRegionDocument, ...]


class InvalidatedKeyDocument(JsonDocument):
    """The answer for one key."""

    region: str
    key: str
    found: bool
    dry_run: bool


class InvalidatedNamespaceDocument(JsonDocument):
    """The answer with `--namespace`."""

    region: str
    namespace: str
    keys: int
    generation: int | None
    dry_run: bool


class InvalidatedPatternDocument(JsonDocument):
    """The answer with `--pattern`."""

    region: str
    pattern: str
    namespaces: tuple[str, ...]
    dry_run: bool
    scanned: int
    matched: int
    removed: int
    seconds: float
    probe_p50_ms: float
    probe_p99_ms: float
    total: int
    resume_token: str | None
    rest_seconds: float
    foreign_namespaces: int


class InvalidateDocument(Envelope):
    """cache invalidate: the entry's fields depend on KEY, --namespace or --pattern."""

    regions: tuple[
        InvalidatedKeyDocument | InvalidatedNamespaceDocument | InvalidatedPatternDocument | FailedRegionDocument, ...
    ]


class RegionFlushDocument(JsonDocument):
    region: str
    keys: int
    foreign_namespaces: int
    dry_run: bool


class FlushDocument(Envelope):
    """cache flush."""

    regions: tuple[RegionFlushDocument | FailedRegionDocument, ...]


class QueueDocument(JsonDocument):
    name: str
    waiting: int
    in_flight: int
    oldest_age_seconds: float | None
    dead_letters: int
    max_receive_count: int
    url: str


class RegionQueuesDocument(JsonDocument):
    region: str
    queues: tuple[QueueDocument, ...]


class QueuesDocument(Envelope):
    """queue list."""

    regions: tuple[RegionQueuesDocument | FailedRegionDocument, ...]


class DeadLetterDocument(JsonDocument):
    message_id: str
    event_id: str | None
    event_type: str | None
    sent_at: float
    deliveries: int
    size_bytes: int
    last_error: str | None
    failed_at: float | None
    body: str | None = Field(description="null without --bodies")


class RegionLettersDocument(JsonDocument):
    region: str
    letters: tuple[DeadLetterDocument, ...]


class LettersDocument(Envelope):
    """queue peek."""

    regions: tuple[RegionLettersDocument | FailedRegionDocument, ...]


class RegionRedriveDocument(JsonDocument):
    region: str
    moved: int
    failed: int
    remaining: int
    not_deleted: int
    refusals: tuple[str, ...]
    dry_run: bool


class RedriveDocument(Envelope):
    """queue redrive."""

    regions: tuple[RegionRedriveDocument | FailedRegionDocument, ...]


class RegionPurgeDocument(JsonDocument):
    region: str
    letters: int
    dry_run: bool


class PurgeDocument(Envelope):
    """queue purge."""

    regions: tuple[RegionPurgeDocument | FailedRegionDocument, ...]
