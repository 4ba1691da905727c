"""The JSON documents of `mjctl backup`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mjctl.cli.output.documents.envelope import CheckDocument, Envelope, FailedRegionDocument, JsonDocument

KindName = Literal["table", "database", "cache"]


class PartDocument(JsonDocument):
    """Describes a part of a backup: a table, a relation of the database or a namespace of the cache."""

    kind: KindName
    name: str
    records: int = Field(description="number of items, rows or keys")
    raw_bytes: int = Field(description="size before compression and encryption")
    stored_bytes: int = Field(description="size of the stored objects")
    objects: int = Field(description="number of stored objects")
    digest: str = Field(description="digest of the records, which does not depend on their order")


class BackupFields(JsonDocument):
    """Describes the manifest of a complete backup."""

    backup_id: str
    project: str
    environment: str = Field(description="environment that the backup is from")
    source_region: str = Field(description="region that the backup is from")
    created_at: str
    completed_at: str
    created_by: str = Field(description="name and version of the program that wrote the backup")
    database: dict[str, Any] | str | None = Field(description="facts about the database, such as its migration")
    records: dict[str, int] = Field(description="kind of data store -> number of records")
    raw_bytes: int = Field(description="size before compression and encryption")
    stored_bytes: int = Field(description="size of the stored objects")
    parts: tuple[PartDocument, ...]


class CreatedBackupDocument(BackupFields):
    """Describes a portable backup that was created."""

    region: str


class PlannedBackupPartDocument(JsonDocument):
    """Describes a part that a backup would contain."""

    kind: KindName
    name: str
    records: int


class PlannedBackupDocument(JsonDocument):
    """Describes the backup that the command would create, with `--dry-run`."""

    region: str
    parts: tuple[PlannedBackupPartDocument, ...]


class ManagedBackupDocument(JsonDocument):
    """Describes a backup that AWS keeps."""

    service: str
    resource: str = Field(description="name of the table, cluster or cache")
    backup_id: str
    state: str
    created_at: str | None
    size_bytes: int | None = Field(description="null if AWS does not report a size")
    detail: dict[str, Any] = Field(description="further facts that AWS reports")


class RegionManagedBackupsDocument(JsonDocument):
    """Describes the backups that AWS keeps of a region, with `--kind managed`."""

    region: str
    backups: tuple[ManagedBackupDocument, ...]


class BackupCreateDocument(Envelope):
    """Describes the output of `mjctl backup create`. An entry's fields depend on --dry-run and --kind."""

    regions: tuple[
        CreatedBackupDocument | PlannedBackupDocument | RegionManagedBackupsDocument | FailedRegionDocument, ...
    ]


class BackupSummaryDocument(JsonDocument):
    """Describes a portable backup in a list."""

    backup_id: str
    state: str
    created_at: str
    size_bytes: int
    environment: str | None = Field(description="environment that the backup is from; null without a manifest")
    source_region: str | None = Field(description="region that the backup is from; null without a manifest")
    records: dict[str, int] | None = Field(description="kind of data store -> number of records")
    in_use: bool = Field(description="true if a process is writing the backup")
    opens: bool | None = Field(description="whether the region's key opens the backup; null if that is not known")
    problem: str | None = Field(description="the problem of the backup; null without a known problem")


class RegionBackupsDocument(JsonDocument):
    """Describes the portable backups of a region."""

    region: str
    backups: tuple[BackupSummaryDocument, ...]


class BackupListDocument(Envelope):
    """Describes the output of `mjctl backup list`. With --kind managed, the output has the backups that AWS keeps."""

    regions: tuple[RegionBackupsDocument | RegionManagedBackupsDocument | FailedRegionDocument, ...]


class BackupKeyDocument(JsonDocument):
    """Describes a KMS key that can open a backup."""

    region: str
    key_id: str


class ShownBackupDocument(BackupFields):
    """Describes a complete backup."""

    region: str
    state: str
    size_bytes: int
    in_use: bool = Field(description="true if a process is writing the backup")
    opens: bool | None = Field(description="whether the region's key opens the backup; null if that is not known")
    problem: str | None = Field(description="the problem of the backup; null without a known problem")
    keys: tuple[BackupKeyDocument, ...]


class IncompleteBackupDocument(BackupSummaryDocument):
    """Describes a backup without a manifest."""

    region: str


class BackupShowDocument(Envelope):
    """Describes the output of `mjctl backup show`."""

    regions: tuple[ShownBackupDocument | IncompleteBackupDocument | FailedRegionDocument, ...]


class ProblemDocument(JsonDocument):
    """Describes a problem of a backup."""

    object: str = Field(description="the file, or the part if no single file is the cause")
    what: str = Field(description="the problem, in one sentence")


class VerifiedBackupDocument(JsonDocument):
    """Describes a backup that was read and verified."""

    backup_id: str
    objects: int = Field(description="number of objects that were read")
    bytes: int = Field(description="number of bytes that were read")
    records: int = Field(description="number of records that were read")
    seconds: float
    problems: tuple[ProblemDocument, ...] = Field(description="empty if the backup is undamaged")


class RegionVerifiedDocument(JsonDocument):
    """Describes the verified backups of a region."""

    region: str
    backups: tuple[VerifiedBackupDocument, ...]


class BackupVerifyDocument(Envelope):
    """Describes the output of `mjctl backup verify`."""

    regions: tuple[RegionVerifiedDocument | FailedRegionDocument, ...]


class RestoreStepDocument(JsonDocument):
    """Describes the restore of one part."""

    kind: KindName
    name: str
    target: str = Field(description="the table, relation or namespace that is restored into")
    action: Literal["create", "replace", "fill"]
    there: int | None = Field(description="number of records at the target now; null if the target does not exist")
    records: int = Field(description="number of records in the backup")


class PlannedRestoreDocument(JsonDocument):
    """Describes the restore that the command would do, with `--dry-run`."""

    region: str
    backup_id: str
    source: str
    target: str
    steps: tuple[RestoreStepDocument, ...]
    notes: tuple[str, ...] = Field(description="facts to know before the restore is confirmed")


class ComparisonDocument(JsonDocument):
    """Describes the comparison of a restored part with the backup."""

    kind: KindName
    name: str
    target: str
    archived: int = Field(description="number of records in the backup")
    expired: int = Field(description="number of records whose time to live was over before the restore wrote them")
    expiring: int = Field(description="number of records that can expire during the restore, so they are not compared")
    durable: int = Field(description="number of records that cannot expire during the restore, so they are compared")
    found: int = Field(description="number of records in the restored part, without records that can expire")
    equal: bool
    seconds: float
    sampled: int = Field(description="managed drill: number of items that were compared with the live table")
    same: int = Field(description="managed drill: number of compared items that are equal in the live table")


class RestoredDocument(JsonDocument):
    """Describes a restore."""

    region: str
    backup_id: str
    target: str
    equal: bool = Field(description="true if every restored part is equal to the backup")
    seconds: float
    parts: tuple[ComparisonDocument, ...]


class ManagedRestoreDocument(JsonDocument):
    """Describes a restore by AWS."""

    service: str
    source: str = Field(description="ARN or id of the backup, or the moment that is restored")
    target: str


class RegionManagedRestoresDocument(JsonDocument):
    """Describes the restores by AWS in a region, with `--kind managed`."""

    region: str
    restores: tuple[ManagedRestoreDocument, ...]


class BackupRestoreDocument(Envelope):
    """Describes the output of `mjctl backup restore`. The only entry is the region that is restored into."""

    regions: tuple[PlannedRestoreDocument | RestoredDocument | RegionManagedRestoresDocument, ...]


class PruneDecisionDocument(JsonDocument):
    """Describes the decision about a backup."""

    backup_id: str
    keep: bool
    reasons: tuple[str, ...] = Field(description="why the backup is kept or deleted")
    state: str
    size_bytes: int


class PlannedPruneDocument(JsonDocument):
    """Describes the planned deletions of a region, with `--dry-run` or if another region failed."""

    region: str
    decisions: tuple[PruneDecisionDocument, ...]


class PrunedDocument(JsonDocument):
    """Describes the deleted backups of a region."""

    region: str
    removed: tuple[str, ...] = Field(description="ids of the deleted backups")
    freed_bytes: int


class BackupPruneDocument(Envelope):
    """Describes the output of `mjctl backup prune`."""

    regions: tuple[PlannedPruneDocument | PrunedDocument | FailedRegionDocument, ...]


class DrillDocument(JsonDocument):
    """Describes the drill of a backup."""

    region: str
    backup_id: str
    proven: bool = Field(description="true if the drill showed that every part can be restored")
    scratch: str = Field(description="name of the scratch copy")
    removed: bool = Field(description="true if the scratch copy was removed")
    error: str | None
    seconds: dict[str, float] = Field(description="step of the drill -> its seconds")
    not_proven: tuple[str, ...] = Field(description="parts of the backup that the drill did not compare")
    parts: tuple[ComparisonDocument, ...]
    checks: tuple[CheckDocument, ...]


class DrillsDocument(Envelope):
    """Describes the output of `mjctl backup drill`."""

    regions: tuple[DrillDocument | FailedRegionDocument, ...]


class CopiesDocument(JsonDocument):
    """Describes the restored copies of a region, without NAME."""

    region: str
    copies: tuple[str, ...] = Field(description="names of the copies")


class DiscardedCopyDocument(JsonDocument):
    """Describes the deleted parts of a restored copy."""

    region: str
    removed: tuple[str, ...] = Field(description="names of the deleted parts; empty if the region has no such copy")


class BackupDiscardDocument(Envelope):
    """Describes the output of `mjctl backup discard`."""

    regions: tuple[CopiesDocument | DiscardedCopyDocument | FailedRegionDocument, ...]
