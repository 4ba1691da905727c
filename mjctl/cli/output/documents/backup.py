"""The documents of `mjctl backup`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import CheckDocument, Envelope, FailedRegionDocument, JsonDocument

KindName = Literal["table", "database", "cache"]


class PartDocument(JsonDocument):
    kind: KindName
    name: str
    records: int
    raw_bytes: int
    stored_bytes: int
    objects: int
    digest: str


class BackupFields(JsonDocument):
    """The manifest of a complete backup. `environment` and `source_region` name the region that it copies."""

    backup_id: str
    project: str
    environment: str
    source_region: str
    created_at: str
    completed_at: str
    created_by: str
    database: dict[str, Any] | str | None
    records: dict[str, int]
    raw_bytes: int
    stored_bytes: int
    parts: tuple[PartDocument, ...]


class CreatedBackupDocument(BackupFields):
    """A portable backup."""

    region: str


class PlannedBackupPartDocument(JsonDocument):
    kind: KindName
    name: str
    records: int


class PlannedBackupDocument(JsonDocument):
    """The answer with `--dry-run`."""

    region: str
    parts: tuple[PlannedBackupPartDocument, ...]


class ManagedBackupDocument(JsonDocument):
    service: str
    resource: str
    backup_id: str
    state: str
    created_at: str | None
    size_bytes: int | None
    detail: dict[str, Any]


class RegionManagedBackupsDocument(JsonDocument):
    """The answer with `--kind managed`."""

    region: str
    backups: tuple[ManagedBackupDocument, ...]


class BackupCreateDocument(Envelope):
    """backup create: the entry's fields depend on --dry-run and --kind."""

    regions: tuple[
        CreatedBackupDocument | PlannedBackupDocument | RegionManagedBackupsDocument | FailedRegionDocument, ...
    ]


class BackupSummaryDocument(JsonDocument):
    backup_id: str
    state: str
    created_at: str
    size_bytes: int
    environment: str | None
    source_region: str | None
    records: dict[str, int] | None
    in_use: bool
    opens: bool | None = Field(description="whether the region's key opens it; null when that is not known")
    problem: str | None


class RegionBackupsDocument(JsonDocument):
    region: str
    backups: tuple[BackupSummaryDocument, ...]


class BackupListDocument(Envelope):
    """backup list: with --kind managed, the backups that AWS keeps."""

    regions: tuple[RegionBackupsDocument | RegionManagedBackupsDocument | FailedRegionDocument, ...]


class BackupKeyDocument(JsonDocument):
    region: str
    key_id: str


class ShownBackupDocument(BackupFields):
    """A complete backup."""

    region: str
    state: str
    size_bytes: int
    in_use: bool
    opens: bool | None
    problem: str | None
    keys: tuple[BackupKeyDocument, ...]


class IncompleteBackupDocument(BackupSummaryDocument):
    """A backup without a manifest."""

    region: str


class BackupShowDocument(Envelope):
    """backup show."""

    regions: tuple[ShownBackupDocument | IncompleteBackupDocument | FailedRegionDocument, ...]


class ProblemDocument(JsonDocument):
    object: str = Field(description="the file, or the part if no single file is the cause")
    what: str


class VerifiedBackupDocument(JsonDocument):
    backup_id: str
    objects: int
    bytes: int
    records: int
    seconds: float
    problems: tuple[ProblemDocument, ...]


class RegionVerifiedDocument(JsonDocument):
    region: str
    backups: tuple[VerifiedBackupDocument, ...]


class BackupVerifyDocument(Envelope):
    """backup verify."""

    regions: tuple[RegionVerifiedDocument | FailedRegionDocument, ...]


class RestoreStepDocument(JsonDocument):
    kind: KindName
    name: str
    target: str
    action: Literal["create", "replace", "fill"]
    there: int | None = Field(description="records at the target now; null when the target does not exist")
    records: int


class PlannedRestoreDocument(JsonDocument):
    """The answer with `--dry-run`."""

    region: str
    backup_id: str
    source: str
    target: str
    steps: tuple[RestoreStepDocument, ...]
    notes: tuple[str, ...]


class ComparisonDocument(JsonDocument):
    """One part of the copy, compared with the backup."""

    kind: KindName
    name: str
    target: str
    archived: int
    expired: int
    expiring: int
    durable: int
    found: int
    equal: bool
    seconds: float
    sampled: int = Field(description="managed: items of the copy that were compared with the live table's")
    same: int = Field(description="managed: how many of them are equal")


class RestoredDocument(JsonDocument):
    """A restore that was done."""

    region: str
    backup_id: str
    target: str
    equal: bool
    seconds: float
    parts: tuple[ComparisonDocument, ...]


class ManagedRestoreDocument(JsonDocument):
    service: str
    source: str
    target: str


class RegionManagedRestoresDocument(JsonDocument):
    """The answer with `--kind managed`."""

    region: str
    restores: tuple[ManagedRestoreDocument, ...]


class BackupRestoreDocument(Envelope):
    """backup restore: one entry, of the region that is restored into."""

    regions: tuple[PlannedRestoreDocument | RestoredDocument | RegionManagedRestoresDocument, ...]


class PruneDecisionDocument(JsonDocument):
    backup_id: str
    keep: bool
    reasons: tuple[str, ...]
    state: str
    size_bytes: int


class PlannedPruneDocument(JsonDocument):
    """The answer with `--dry-run`, or when a region failed."""

    region: str
    decisions: tuple[PruneDecisionDocument, ...]


class PrunedDocument(JsonDocument):
    region: str
    removed: tuple[str, ...]
    freed_bytes: int


class BackupPruneDocument(Envelope):
    """backup prune."""

    regions: tuple[PlannedPruneDocument | PrunedDocument | FailedRegionDocument, ...]


class DrillDocument(JsonDocument):
    region: str
    backup_id: str
    proven: bool
    scratch: str
    removed: bool
    error: str | None
    seconds: dict[str, float]
    not_proven: tuple[str, ...] = Field(description="parts of the backup that the drill did not compare")
    parts: tuple[ComparisonDocument, ...]
    checks: tuple[CheckDocument, ...]


class DrillsDocument(Envelope):
    """backup drill."""

    regions: tuple[DrillDocument | FailedRegionDocument, ...]


class CopiesDocument(JsonDocument):
    """Without NAME."""

    region: str
    copies: tuple[str, ...]


class DiscardedCopyDocument(JsonDocument):
    region: str
    removed: tuple[str, ...]


class BackupDiscardDocument(Envelope):
    """backup discard."""

    regions: tuple[CopiesDocument | DiscardedCopyDocument | FailedRegionDocument, ...]
