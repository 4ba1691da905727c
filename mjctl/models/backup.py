"""What a backup is: the manifest that makes it whole, what a look at a store finds, and what a command will do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import msgspec

from mjctl.models.check import CheckResult, CheckStatus
from mjctl.models.errors import UsageError

FORMAT = "mjctl-backup/1"
MANIFEST_NAME = "manifest.json"
_ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}\Z")


class Kind(StrEnum):
    """Which of a region's stores a part comes from. In this order they are restored."""

    DATABASE = "database"
    TABLE = "table"
    CACHE = "cache"


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object of a part. `size` and `sha256` are those of the stored, encrypted bytes."""

    records: int
    size: int
    sha256: str


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table, relation or cache namespace.

    `name` is logical (a key of the contract's tables, `schema.relation`, a namespace); `digest` does not depend on the
    order of records (`mjctl.backup.digest`); `schema` is what a scratch copy needs, by kind.
    """

    kind: Kind
    name: str
    records: int
    raw_bytes: int
    digest: str
    schema: dict[str, Any]
    chunks: tuple[Chunk, ...]

    @property
    def label(self) -> str:
        return f"{self.kind}/{self.name}"

    def object_name(self, index: int) -> str:
        """Name of chunk `index` below the backup's own prefix."""
        return object_name(self.kind, self.name, index)


class WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The backup's root key, encrypted by one KMS key; `ciphertext` is base64."""

    region: str
    key_id: str
    ciphertext: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a backup holds. Times in ISO 8601, UTC. Written last: without it there is no backup."""

    format: str
    backup_id: str
    project: str
    environment: str
    region: str
    created_at: str
    completed_at: str
    created_by: str
    database: dict[str, Any]
    parts: tuple[Part, ...]

    @property
    def records(self) -> int:
        return sum(part.records for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(chunk.size for part in self.parts for chunk in part.chunks)

    @property
    def raw_bytes(self) -> int:
        return sum(part.raw_bytes for part in self.parts)

    def counts(self) -> dict[str, int]:
        """Records by kind."""
        return {kind.value: sum(part.records for part in self.parts if part.kind is kind) for kind in Kind}

    def objects(self) -> dict[str, int]:
        """Name and size of every chunk."""
        return {part.object_name(index): chunk.size for part in self.parts for index, chunk in enumerate(part.chunks)}


class SignedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `manifest.json` holds. `mac` covers manifest and keys."""

    manifest: Manifest
    keys: tuple[WrappedKey, ...]
    mac: str


class BackupState(StrEnum):
    COMPLETE = "complete"
    DAMAGED = "damaged"
    """A manifest that cannot be read, or an object missing or of another size: seen without reading the objects."""
    IN_PROGRESS = "in progress"
    """Managed backups only: AWS is still making a part of it."""
    INCOMPLETE = "incomplete"
    """No manifest: its writer was stopped, or is still at work (`in_use`)."""


@dataclass(frozen=True)
class BackupEntry:
    """One backup, or what is left of one, as a look at the store's listing and the manifest shows it."""

    backup_id: str
    state: BackupState
    size_bytes: int
    objects: tuple[str, ...]
    created_at: datetime
    last_written_at: datetime
    in_use: bool = False
    problem: str | None = None
    signed: SignedManifest | None = None
    opens: bool | None = None
    """Whether the region's key opens it; then `problem` says why not. None: not asked, or KMS did not say."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a backup. `object` names the file, or the part where no single file is to blame."""

    object: str
    what: str


@dataclass(frozen=True)
class VerifyReport:
    """What reading a backup back found. No problem means: every byte is as it was written, by whoever holds the key."""

    backup_id: str
    objects: int
    bytes: int
    records: int
    seconds: float
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class RestoreStep:
    """What a restore does with one part. `there`: records now at the target; None where the target does not exist."""

    part: Part
    target: str
    there: int | None

    @property
    def action(self) -> str:
        if self.there is None:
            return "create"
        return "replace" if self.there else "fill"


@dataclass(frozen=True)
class RestorePlan:
    """A restore before it is done. `notes` are what a person should know before confirming."""

    backup_id: str
    source: str
    target: str
    steps: tuple[RestoreStep, ...]
    notes: tuple[str, ...] = ()

    @property
    def overwrites(self) -> tuple[RestoreStep, ...]:
        return tuple(step for step in self.steps if step.there)


@dataclass(frozen=True)
class Comparison:
    """One part after a restore against the archive.

    `expired` had passed its time to live before it was written; `expiring` may leave by itself while we work, so it is
    counted but stands in neither digest.
    """

    kind: Kind
    name: str
    target: str
    archived: int
    expired: int
    expiring: int
    durable: int
    found: int
    equal: bool
    seconds: float
    sampled: int = 0
    """Managed drills: items of the copy that were compared with the live table's."""
    same: int = 0
    """Managed drills: how many of them are equal to the live table's."""


@dataclass(frozen=True)
class RestoreReport:
    """A restore that was done, and what it compared afterwards."""

    backup_id: str
    target: str
    comparisons: tuple[Comparison, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        return all(item.equal for item in self.comparisons)


@dataclass(frozen=True)
class DrillReport:
    """A backup proven, or not: restored into a scratch copy, compared, checked, and the copy removed."""

    backup_id: str
    scratch: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[CheckResult, ...]
    removed: bool
    error: str | None
    seconds: Mapping[str, float]
    not_proven: tuple[str, ...] = ()
    """Parts of the backup that the drill did not compare: `database`, `cache`, `table/matches: <why>`."""

    @property
    def proven(self) -> bool:
        equal = bool(self.comparisons) and all(item.equal for item in self.comparisons)
        whole = self.error is None and self.removed and not self.not_proven
        return whole and equal and all(check.status != "fail" for check in self.checks)

    def results(self, region: str) -> tuple[CheckResult, ...]:
        """The drill as findings, one a part and one for the whole, as CI reports show them."""
        parts = tuple(
            CheckResult(
                f"restore/{item.kind}/{item.name}",
                region,
                CheckStatus.PASS if item.equal else CheckStatus.FAIL,
                f"{item.archived} in the backup, {item.expired} expired, {item.found} found",
                duration_seconds=item.seconds,
            )
            for item in self.comparisons
        )
        verdict = CheckStatus.PASS if self.proven else CheckStatus.FAIL
        why = self.error or (f"not proven: {', '.join(self.not_proven)}" if self.not_proven else verdict.value)
        total = CheckResult(f"drill/{self.backup_id}", region, verdict, why)
        return (*parts, *self.checks, total)


@dataclass(frozen=True)
class RetentionPolicy:
    """How many backups to keep: the newest, and the newest of each of so many days, ISO weeks and months (UTC)."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        if not any((self.last, self.daily, self.weekly, self.monthly)):
            raise UsageError(
                "this policy keeps nothing", hint="give at least one of --keep-last, -daily, -weekly, -monthly"
            )


@dataclass(frozen=True)
class PruneDecision:
    """`reasons`: why a backup stays (`last`, `daily`, ...) or goes (`not kept by the policy`, ...)."""

    entry: BackupEntry
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PrunePlan:
    decisions: tuple[PruneDecision, ...]

    @property
    def removed(self) -> tuple[BackupEntry, ...]:
        return tuple(item.entry for item in self.decisions if not item.keep)


@dataclass(frozen=True)
class ManagedBackup:
    """One backup that AWS keeps: a table's on-demand backup or PITR window, a cluster snapshot, a recovery point."""

    service: str
    resource: str
    backup_id: str
    state: str
    created_at: datetime | None
    size_bytes: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


def new_backup_id(now: datetime | None = None) -> str:
    """Ids sort by time, to the millisecond; the random end keeps two of one moment apart."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{secrets.token_hex(4)}"


def is_backup_id(text: str) -> bool:
    return _ID.match(text) is not None


def created_at_of(backup_id: str) -> datetime:
    """The moment that an id of `new_backup_id` names."""
    return datetime.strptime(backup_id[:18], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


def object_name(kind: Kind, name: str, index: int) -> str:
    """A name that is safe as a file's: relations may be called anything."""
    return f"{kind}.{quote(name, safe='')}.{index:06d}"
