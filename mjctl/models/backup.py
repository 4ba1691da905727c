"""The models of backups: the manifest, the entries of a store's listing, and the plans and results of commands."""

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
    """Lists the data stores of a region, in the order in which a restore writes them."""

    DATABASE = "database"
    TABLE = "table"
    CACHE = "cache"


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes an object of a backup store that contains some of the records of a backup's part.

    Attributes:
        records: The number of records in the object.
        size: The number of stored, encrypted bytes.
        sha256: The digest of the stored, encrypted bytes.
    """

    records: int
    size: int
    sha256: str


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes a table of DynamoDB, a relation of PostgreSQL or a namespace of the cache inside of a backup.

    Attributes:
        kind: The data store.
        name: The table's name in the contract, the relation as `schema.relation`, or the namespace of the cache.
        records: The number of the part's records.
        raw_bytes: The size of the part's records in bytes, before compression and encryption.
        digest: A digest of the part's records, independent of the records' order (`mjctl.backup.digest`).
        schema: The definition that a scratch copy of the part needs. The keys of `schema` depend on the kind of the
            data store.
        chunks: The objects of the store that contain the part's records.
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
        """Return the part's name for people, e.g. `table/matches`."""
        return f"{self.kind}/{self.name}"

    def object_name(self, index: int) -> str:
        """Return the name of chunk `index` below the backup's prefix."""
        return object_name(self.kind, self.name, index)


class WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds the root key of a backup, encrypted by a KMS key.

    Attributes:
        region: The region of the KMS key.
        key_id: The id of the KMS key.
        ciphertext: The encrypted root key in base64.
    """

    region: str
    key_id: str
    ciphertext: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes the content of a backup.

    The manifest is written last, so a backup without a manifest is incomplete.

    Attributes:
        format: The version of the backup's format, `FORMAT`.
        backup_id: The id of the backup.
        project: The project of the environment.
        environment: The environment of the region.
        region: The region whose data the backup contains.
        created_at: The start of the backup in ISO 8601, UTC.
        completed_at: The end of the backup in ISO 8601, UTC.
        created_by: The operator, `user@host`.
        database: Facts about the database, e.g. its version.
        parts: The tables, relations and namespaces in the backup.
    """

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
        """Return the number of records of all parts."""
        return sum(part.records for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """Return the number of encrypted bytes of all parts in the store."""
        return sum(chunk.size for part in self.parts for chunk in part.chunks)

    @property
    def raw_bytes(self) -> int:
        """Return the number of bytes of all parts before compression and encryption."""
        return sum(part.raw_bytes for part in self.parts)

    def counts(self) -> dict[str, int]:
        """Return the number of records of each data store, by the name of the data store."""
        return {kind.value: sum(part.records for part in self.parts if part.kind is kind) for kind in Kind}

    def objects(self) -> dict[str, int]:
        """Return the size in bytes of every chunk, by the name of its object below the backup's prefix."""
        return {part.object_name(index): chunk.size for part in self.parts for index, chunk in enumerate(part.chunks)}


class SignedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes the content of `manifest.json`.

    Attributes:
        manifest: The manifest.
        keys: The backup's root key, encrypted by each of the KMS keys that can open the backup.
        mac: A message authentication code of `manifest` and `keys`, calculated with the backup's root key.
    """

    manifest: Manifest
    keys: tuple[WrappedKey, ...]
    mac: str


class BackupState(StrEnum):
    """Lists the states of a backup that a listing of its store shows, without reading its chunks."""

    COMPLETE = "complete"
    DAMAGED = "damaged"
    """The manifest cannot be read, or an object is missing or has another size than the manifest says."""
    IN_PROGRESS = "in progress"
    """AWS has not finished a part of this managed backup."""
    INCOMPLETE = "incomplete"
    """The backup has no manifest, because its writer was stopped or is still at work (`BackupEntry.in_use`)."""


@dataclass(frozen=True)
class BackupEntry:
    """Describes a backup, or the objects that an interrupted backup left, by the store's listing and the manifest.

    Attributes:
        backup_id: The id of the backup.
        state: The state of the backup.
        size_bytes: The sum of the sizes of the backup's objects.
        objects: The names of the backup's objects, relative to the backup's prefix.
        created_at: The start of the backup.
        last_written_at: The time when the backup's newest object was written.
        in_use: True if a running process writes the backup.
        problem: The reason why the backup is damaged or cannot be opened, or None.
        signed: The signed manifest, or None if the manifest is missing or cannot be read.
        opens: Whether the region's KMS key opens the backup; None if the key was not tested or KMS did not answer. If
            the key does not open the backup, `problem` has the reason.
    """

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


@dataclass(frozen=True)
class Problem:
    """Describes a fault of a backup.

    Attributes:
        object: The name of the damaged object, or the part's label if no single object causes the fault.
        what: A sentence about the fault.
    """

    object: str
    what: str


@dataclass(frozen=True)
class VerifyReport:
    """Holds the result of reading a whole backup.

    If the report has no problem, a holder of the backup's key wrote every byte of the backup.

    Attributes:
        backup_id: The id of the backup.
        objects: The number of objects that were read.
        bytes: The number of stored bytes that were read.
        records: The number of records that were read.
        seconds: The duration.
        problems: The faults.
    """

    backup_id: str
    objects: int
    bytes: int
    records: int
    seconds: float
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class RestoreStep:
    """Describes what a restore does with a part.

    Attributes:
        part: The part of the backup.
        target: The table, relation or namespace into which the part is written.
        existing: The number of records that the table, relation or namespace contains before the restore; None if it
            does not exist.
    """

    part: Part
    target: str
    existing: int | None

    @property
    def action(self) -> str:
        """Return the effect of the restore on `target`.

        The effect is `create` if `target` is missing, `replace` if it contains records, `fill` if it is empty.
        """
        if self.existing is None:
            return "create"
        return "replace" if self.existing else "fill"


@dataclass(frozen=True)
class RestorePlan:
    """Describes a restore before it starts.

    Attributes:
        backup_id: The id of the backup.
        source: The region from which the backup comes, for people.
        target: The region or scratch copy into which the backup is written, for people.
        steps: What the restore does with each part.
        notes: Lines that an operator should read before confirming the restore.
    """

    backup_id: str
    source: str
    target: str
    steps: tuple[RestoreStep, ...]
    notes: tuple[str, ...] = ()

    @property
    def overwrites(self) -> tuple[RestoreStep, ...]:
        """Return the steps that replace existing records."""
        return tuple(step for step in self.steps if step.existing)


@dataclass(frozen=True)
class Comparison:
    """Holds the comparison of a restored part with the part in the backup.

    Attributes:
        kind: The data store of the part.
        name: The name of the part.
        target: The table, relation or namespace into which the part was written.
        archived: The number of the part's records in the backup. If a managed backup does not record the number of
            items, `archived` and `durable` are the number of items in the live table.
        expired: The number of the backup's records that had expired when the restore began.
        expiring: The number of the backup's records that expire in the first 6 hours after the begin of the restore.
            Expiring records are counted and not compared.
        durable: The number of the backup's records that are neither expired nor expiring. The digests of the durable
            records are compared.
        restored: The number of durable records in the restored part. In a drill of a managed backup, `restored` is the
            number of all items of the restored table.
        equal: True if the durable records of the restored part equal the durable records of the backup. In a drill of a
            managed backup, true if the number of restored items is plausible and the sample is. A sample is plausible
            if at least half of its items equal items of the live table.
        seconds: The duration of the comparison.
        sampled: The number of items that a drill of a managed backup compared with the live table; 0 if the drill
            compared none, and for a portable backup.
        same: The number of sampled items that equal the items of the live table; 0 if nothing was sampled.
    """

    kind: Kind
    name: str
    target: str
    archived: int
    expired: int
    expiring: int
    durable: int
    restored: int
    equal: bool
    seconds: float
    sampled: int = 0
    same: int = 0


@dataclass(frozen=True)
class RestoreReport:
    """Holds the result of a restore.

    Attributes:
        backup_id: The id of the backup.
        target: The region or scratch copy that was written, for people.
        comparisons: The comparison of each restored part with the backup.
        seconds: The duration.
    """

    backup_id: str
    target: str
    comparisons: tuple[Comparison, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        """Return whether every restored part equals the part in the backup."""
        return all(item.equal for item in self.comparisons)


@dataclass(frozen=True)
class DrillReport:
    """Holds the result of a drill: a restore into a scratch copy, the comparisons, the checks and the clean-up.

    Attributes:
        backup_id: The id of the backup.
        scratch: The name of the scratch copy.
        comparisons: The comparison of each restored part with the backup.
        checks: The results of the checks of the scratch copy.
        removed: True if the scratch copy was removed completely.
        error: The reason why the drill stopped early, or None.
        seconds: The seconds that each phase of the drill took, by the phase's name.
        not_proven: The parts that the drill did not compare, e.g. `database`, `cache` or `table/matches: REASON`.
    """

    backup_id: str
    scratch: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[CheckResult, ...]
    removed: bool
    error: str | None
    seconds: Mapping[str, float]
    not_proven: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Return whether the drill has shown that the whole backup can be restored."""
        equal = bool(self.comparisons) and all(item.equal for item in self.comparisons)
        whole = self.error is None and self.removed and not self.not_proven
        return whole and equal and all(check.status != "fail" for check in self.checks)

    def results(self, region: str) -> tuple[CheckResult, ...]:
        """Return the drill as check results for reports of CI: a result for each part, and a result for the drill."""
        parts = tuple(
            CheckResult(
                f"restore/{item.kind}/{item.name}",
                region,
                CheckStatus.PASS if item.equal else CheckStatus.FAIL,
                f"{item.archived} in the backup, {item.expired} expired, {item.restored} found",
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
    """Describes which backups to keep. A backup is kept if `last`, `daily`, `weekly` or `monthly` requires it.

    Attributes:
        last: The number of newest backups to keep.
        daily: The number of days (UTC) for which the newest backup of the day is kept.
        weekly: The number of ISO weeks (UTC) for which the newest backup of the week is kept.
        monthly: The number of months (UTC) for which the newest backup of the month is kept.

    Raises:
        UsageError: `last`, `daily`, `weekly` and `monthly` are all 0.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        if not any((self.last, self.daily, self.weekly, self.monthly)):
            raise UsageError(
                "this retention policy keeps no backup",
                hint="set --keep-last, --keep-daily, --keep-weekly or --keep-monthly to at least 1",
            )


@dataclass(frozen=True)
class PruneDecision:
    """Says whether a backup is kept or removed, and why.

    Attributes:
        entry: The backup.
        keep: True if the backup is kept.
        reasons: The reasons to keep the backup (`last`, `daily`, ...) or to remove the backup (`not kept by the
            policy`, ...).
    """

    entry: BackupEntry
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PrunePlan:
    """Holds the decision about each backup of a store before any backup is removed."""

    decisions: tuple[PruneDecision, ...]

    @property
    def removed(self) -> tuple[BackupEntry, ...]:
        """Return the backups to remove."""
        return tuple(item.entry for item in self.decisions if not item.keep)


@dataclass(frozen=True)
class ManagedBackup:
    """Describes a backup by AWS: a table's backup or point-in-time window, a cluster's snapshot, a recovery point.

    Attributes:
        service: The AWS service.
        resource: The table, cluster, cache or other resource that was backed up.
        backup_id: The name or id of the backup.
        state: The state of the backup in AWS's words.
        created_at: The time of the backup, or None if AWS does not report it.
        size_bytes: The size, or None if AWS does not report it.
        detail: Further facts by name, for JSON.
    """

    service: str
    resource: str
    backup_id: str
    state: str
    created_at: datetime | None
    size_bytes: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


def new_backup_id(now: datetime | None = None) -> str:
    """Return a new id of a backup.

    Ids of backups sort by their time in milliseconds, and random digits distinguish ids of the same time.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{secrets.token_hex(4)}"


def is_backup_id(text: str) -> bool:
    """Return whether `text` has the form of an id of `new_backup_id`."""
    return _ID.match(text) is not None


def created_at_of(backup_id: str) -> datetime:
    """Return the time (UTC) that an id of `new_backup_id` contains."""
    return datetime.strptime(backup_id[:18], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


def object_name(kind: Kind, name: str, index: int) -> str:
    """Return the name of a chunk's object. Characters of `name` that a file's name cannot have are percent-encoded."""
    return f"{kind}.{quote(name, safe='')}.{index:06d}"
