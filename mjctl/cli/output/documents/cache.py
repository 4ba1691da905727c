"""The JSON documents of `mjctl cache` and `mjctl queue`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mjctl.cli.output.documents.envelope import Envelope, FailedRegionDocument, JsonDocument

_FOREIGN_KEYS = "number of skipped keys that have the name of a cache key, but that the cache did not write"
_FOREIGN_NAMESPACES = "number of skipped namespaces that the cache did not write"


class NamespaceStatsDocument(JsonDocument):
    """Describes a namespace of the cache."""

    name: str
    generation: int | None = Field(
        description="number that grows with each invalidation of the namespace; null if Redis does not contain it"
    )
    keys: int = Field(description="number of keys of the namespace that can be read")
    stale_keys: int = Field(description="number of invalidated keys that still take memory")
    memory_bytes: int
    memory_error_bytes: int = Field(description="margin of error of `memory_bytes` at a confidence of 95 %; 0: exact")


class LargeKeyDocument(JsonDocument):
    """Describes one of the largest keys."""

    name: str
    size_bytes: int


class RegionCacheStatsDocument(JsonDocument):
    """Describes the cache of a region and its Redis server."""

    region: str
    namespaces: tuple[NamespaceStatsDocument, ...]
    largest: tuple[LargeKeyDocument, ...]
    estimated: bool = Field(description="true if the figures of the namespaces are estimated from `sampled_keys` keys")
    sampled_keys: int
    total_keys: int
    hits: int
    misses: int
    hit_ratio: float | None = Field(
        description="hits divided by the sum of hits and misses; null before the first read"
    )
    memory_bytes: int
    max_memory_bytes: int = Field(description="memory limit of the Redis server, in bytes; 0: no limit")
    evicted_keys: int
    expired_keys: int
    clients: int = Field(description="number of connections to the Redis server")
    server_version: str
    uptime_seconds: int
    foreign_keys: int = Field(description=_FOREIGN_KEYS)
    foreign_namespaces: int = Field(description=_FOREIGN_NAMESPACES)
    larger_share: float = Field(
        description="upper bound, 0 to 1, of the share of keys that are larger than the first key of `largest`, at a "
        "confidence of 95 %; 0: exact"
    )


class CacheStatsDocument(Envelope):
    """Describes the output of `mjctl cache stats`."""

    regions: tuple[RegionCacheStatsDocument | FailedRegionDocument, ...]


class HotKeyDocument(JsonDocument):
    """Describes a key that was read often."""

    name: str
    busy_seconds: int = Field(
        description="number of observed seconds in which the key was read; 0 with an LFU eviction policy"
    )
    frequency: int | None = Field(
        description="Redis's logarithmic counter of accesses, 0 to 255; null without an LFU eviction policy"
    )


class RegionHotKeysDocument(JsonDocument):
    """Describes the keys of a region that were read most."""

    region: str
    keys: tuple[HotKeyDocument, ...]
    seconds: int = Field(
        description="number of seconds for which the reads were observed; 0 with an LFU eviction policy"
    )
    sampled_keys: int
    total_keys: int
    missed_percent: float = Field(description="percentage of the keys in Redis that were not examined")


class HotKeysDocument(Envelope):
    """Describes the output of `mjctl cache hot`."""

    regions: tuple[RegionHotKeysDocument | FailedRegionDocument, ...]


class CacheKeyDocument(JsonDocument):
    """Describes a key of the cache."""

    namespace: str
    key: str
    ttl_seconds: float | None = Field(description="seconds until the key expires; null if it does not expire")
    size_bytes: int | None = Field(description="memory of the key; null without --sizes")


class RegionKeysDocument(JsonDocument):
    """Describes the listed keys of a region."""

    region: str
    keys: tuple[CacheKeyDocument, ...]
    truncated: bool = Field(description="true if more keys match than --limit allows to list")
    foreign_namespaces: int = Field(description=_FOREIGN_NAMESPACES)


class KeysDocument(Envelope):
    """Describes the output of `mjctl cache keys`."""

    regions: tuple[RegionKeysDocument | FailedRegionDocument, ...]


class RegionValueDocument(JsonDocument):
    """Describes the value of a key in a region."""

    region: str
    key: str
    found: bool = Field(description="false if the key is not in the cache")
    value: Any
    ttl_seconds: float | None = Field(description="seconds until the key expires; null if the key is not in the cache")


class ValueDocument(Envelope):
    """Describes the output of `mjctl cache get`."""

    regions: tuple[RegionValueDocument | FailedRegionDocument, ...]


class RegionTtlDocument(JsonDocument):
    """Describes the time to live of a key in a region."""

    region: str
    key: str
    ttl_seconds: float | None = Field(description="seconds until the key expires; null if the key is not in the cache")


class TtlDocument(Envelope):
    """Describes the output of `mjctl cache ttl`."""

    regions: tuple[RegionTtlDocument | FailedRegionDocument, ...]


class RegionExpireDocument(JsonDocument):
    """Describes whether the time to live of a key was set."""

    region: str
    key: str
    found: bool = Field(description="false if the key is not in the cache")


class ExpireDocument(Envelope):
    """Describes the output of `mjctl cache expire`."""

    regions: tuple[RegionExpireDocument | FailedRegionDocument, ...]


class InvalidatedKeyDocument(JsonDocument):
    """Describes the invalidation of one key."""

    region: str
    key: str
    found: bool = Field(description="false if the key was not in the cache")
    dry_run: bool = Field(description="true if nothing was invalidated, because of --dry-run")


class InvalidatedNamespaceDocument(JsonDocument):
    """Describes the invalidation of a namespace, for `--namespace`."""

    region: str
    namespace: str
    keys: int = Field(description="number of keys that were invalidated, or with --dry-run would be invalidated")
    generation: int | None = Field(description="the new generation of the namespace; null with --dry-run")
    dry_run: bool = Field(description="true if nothing was invalidated, because of --dry-run")


class InvalidatedPatternDocument(JsonDocument):
    """Describes the invalidation of all keys that match a pattern, for `--pattern`."""

    region: str
    pattern: str
    namespaces: tuple[str, ...]
    dry_run: bool = Field(description="true if nothing was invalidated, because of --dry-run")
    scanned: int = Field(description="number of examined keys; every key in Redis is examined once for each namespace")
    matched: int = Field(description="number of keys that match the pattern")
    removed: int = Field(description="number of keys that were invalidated")
    seconds: float
    probe_p50_ms: float = Field(
        description="median time until Redis answered a PING during the invalidation, in milliseconds"
    )
    probe_p99_ms: float = Field(
        description="99th percentile of the time until Redis answered a PING during the invalidation, in milliseconds"
    )
    total: int = Field(description="number of keys to examine: every key in Redis, once for each namespace")
    resume_token: str | None = Field(description="token for --resume; null if the invalidation is complete")
    rest_seconds: float = Field(description="seconds to wait before --resume, so that --max-keys-per-second is kept")
    foreign_namespaces: int = Field(description=_FOREIGN_NAMESPACES)


class InvalidateDocument(Envelope):
    """Describes the output of `mjctl cache invalidate`. A region's fields depend on KEY, --namespace or --pattern."""

    regions: tuple[
        InvalidatedKeyDocument | InvalidatedNamespaceDocument | InvalidatedPatternDocument | FailedRegionDocument, ...
    ]


class RegionFlushDocument(JsonDocument):
    """Describes the flush of a region's cache."""

    region: str
    keys: int = Field(description="number of keys that were removed, or with --dry-run would be removed")
    foreign_namespaces: int = Field(description=_FOREIGN_NAMESPACES)
    dry_run: bool = Field(description="true if nothing was removed, because of --dry-run")


class FlushDocument(Envelope):
    """Describes the output of `mjctl cache flush`."""

    regions: tuple[RegionFlushDocument | FailedRegionDocument, ...]


class QueueDocument(JsonDocument):
    """Describes a queue."""

    name: str
    waiting: int = Field(description="approximate number of messages that wait for the worker")
    in_flight: int = Field(description="approximate number of messages that the worker has received but not deleted")
    oldest_age_seconds: float | None = Field(
        description="age of the oldest message in seconds; null if AWS does not report it"
    )
    dead_letters: int = Field(description="approximate number of messages in the dead-letter queue")
    max_receive_count: int = Field(
        description="number of deliveries after which a message moves to the dead-letter queue"
    )
    url: str


class RegionQueuesDocument(JsonDocument):
    """Describes the queues of a region."""

    region: str
    queues: tuple[QueueDocument, ...]


class QueuesDocument(Envelope):
    """Describes the output of `mjctl queue list`."""

    regions: tuple[RegionQueuesDocument | FailedRegionDocument, ...]


class DeadLetterDocument(JsonDocument):
    """Describes a message that the worker could not process."""

    message_id: str
    event_id: str | None = Field(
        description="id of the first event in the message, such as `ID +2` if two more events follow"
    )
    event_type: str | None = Field(description="type of the message's events, or `several`")
    sent_at: float = Field(description="Unix time at which the message was sent")
    deliveries: int = Field(description="how many times the message was received, including each peek")
    size_bytes: int
    last_error: str | None = Field(description="last error of the worker for this message; null if it is not known")
    failed_at: float | None = Field(description="Unix time of `last_error`")
    body: str | None = Field(description="content of the message; null without --bodies")


class RegionLettersDocument(JsonDocument):
    """Describes the failed messages of a region."""

    region: str
    letters: tuple[DeadLetterDocument, ...]


class LettersDocument(Envelope):
    """Describes the output of `mjctl queue peek`."""

    regions: tuple[RegionLettersDocument | FailedRegionDocument, ...]


class RegionRedriveDocument(JsonDocument):
    """Describes the redrive of a region's queue."""

    region: str
    moved: int = Field(
        description="number of messages that were sent again and left the dead-letter queue, or with --dry-run would "
        "be sent"
    )
    failed: int = Field(description="number of messages that the queue refused")
    remaining: int = Field(description="approximate number of messages that remain in the dead-letter queue")
    not_deleted: int = Field(
        description="number of messages that were sent again but could not be deleted from the dead-letter queue"
    )
    refusals: tuple[str, ...] = Field(description="the distinct reasons that SQS gave for refused messages")
    dry_run: bool = Field(description="true if nothing was sent, because of --dry-run")


class RedriveDocument(Envelope):
    """Describes the output of `mjctl queue redrive`."""

    regions: tuple[RegionRedriveDocument | FailedRegionDocument, ...]


class RegionPurgeDocument(JsonDocument):
    """Describes the purge of a region's dead-letter queue."""

    region: str
    letters: int = Field(
        description="approximate number of messages that were deleted, or with --dry-run would be deleted"
    )
    dry_run: bool = Field(description="true if nothing was deleted, because of --dry-run")


class PurgeDocument(Envelope):
    """Describes the output of `mjctl queue purge`."""

    regions: tuple[RegionPurgeDocument | FailedRegionDocument, ...]
