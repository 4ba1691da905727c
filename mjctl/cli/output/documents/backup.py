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
    records: int = Field(description="number of items, rows or keys of the part")
    raw_bytes: int = Field(description="bytes of the records before compression and encryption")
    stored_bytes: int = Field(description="bytes of the stored objects, compressed and encrypted")
    objects: int = Field(description="number of objects in the store")
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
    database: dict[str, Any] | str | None = Field(
        description="facts about the database, such as the version of PostgreSQL"
    )
    records: dict[str, int] = Field(description="kind of data store -> number of records")
    raw_bytes: int = Field(description="bytes of the records before compression and encryption")
    stored_bytes: int = Field(description="bytes of the stored objects, compressed and encrypted")
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
    """Describes the backup that `mjctl backup create` would create without `--dry-run`."""

    region: str
    parts: tuple[PlannedBackupPartDocument, ...]


class ManagedBackupDocument(JsonDocument):
    """Describes a backup that AWS keeps."""

    service: str
    resource: str = Field(description="name of the table, database cluster or cache")
    backup_id: str
    state: str
    created_at: str | None
    size_bytes: int | None = Field(description="size of the backup; null if AWS does not report a size")
    detail: dict[str, Any] = Field(description="further facts that AWS reports about the backup")


class RegionManagedBackupsDocument(JsonDocument):
    """Describes the backups that AWS keeps of a region, for `--kind managed`."""

    region: str
    backups: tuple[ManagedBackupDocument, ...]


class BackupCreateDocument(Envelope):
    """Describes the output of `mjctl backup create`. The fields of a region depend on --dry-run and --kind."""

    regions: tuple[
        CreatedBackupDocument | PlannedBackupDocument | RegionManagedBackupsDocument | FailedRegionDocument, ...
    ]


class BackupSummaryDocument(JsonDocument):
    """Describes a portable backup in the output of `mjctl backup list`."""

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
    """Describes a complete backup in the output of `mjctl backup show`."""

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

    object: str = Field(
        description="name of the damaged object; the part of the backup if no single object causes the problem"
    )
    what: str = Field(description="the problem, in one sentence")


class VerifiedBackupDocument(JsonDocument):
    """Describes a backup that was read and verified."""

    backup_id: str
    objects: int = Field(description="number of objects that were read")
    bytes: int = Field(description="number of bytes that were read")
    records: int = Field(description="number of records that were read")
    seconds: float
    problems: tuple[ProblemDocument, ...] = Field(
        description="the problems of the backup; empty if the backup is undamaged"
    )


class RegionVerifiedDocument(JsonDocument):
    """Describes the verified backups of a region."""

    region: str
    backups: tuple[VerifiedBackupDocument, ...]


class BackupVerifyDocument(Envelope):
    """Describes the output of `mjctl backup verify`."""

    regions: tuple[RegionVerifiedDocument | FailedRegionDocument, ...]


class RestoreStepDocument(JsonDocument):
    """Describes the planned restore of one part of a backup."""

    kind: KindName
    name: str
    target: str = Field(description="the table, relation or namespace into which the part is restored")
    action: Literal["create", "replace", "fill"]
    there: int | None = Field(
        description="number of records that the table, relation or namespace contains now; null if it does not exist"
    )
    records: int = Field(description="number of records of the part in the backup")


class PlannedRestoreDocument(JsonDocument):
    """Describes the restore that `mjctl backup restore` would do without `--dry-run`."""

    region: str
    backup_id: str
    source: str
    target: str
    steps: tuple[RestoreStepDocument, ...]
    notes: tuple[str, ...] = Field(description="lines that an operator should read before confirming the restore")


class ComparisonDocument(JsonDocument):
    """Describes the comparison of a restored part with the backup."""

    kind: KindName
    name: str
    target: str
    archived: int = Field(description="number of records of the part in the backup")
    expired: int = Field(
        description="number of records that had expired when the restore began, so the restore did not write them"
    )
    expiring: int = Field(
        description="number of records that expire in the first 6 hours after the begin of the restore, so they are "
        "restored but not compared"
    )
    durable: int = Field(
        description="number of records in the backup that expire later than 6 hours after the begin of the restore or "
        "never, so they are compared"
    )
    found: int = Field(
        description="number of records in the restored part that expire later than 6 hours after the begin of the "
        "restore or never. In a drill of a managed backup, `found` is the number of all items of the restored table."
    )
    equal: bool
    seconds: float
    sampled: int = Field(
        description="number of items that a drill of a managed backup compared with the live table; 0 without a drill"
    )
    same: int = Field(description="number of `sampled` items of the restored table that are equal in the live table")


class RestoredDocument(JsonDocument):
    """Describes a restore."""

    region: str
    backup_id: str
    target: str
    equal: bool = Field(description="true if every restored part is equal to the backup")
    seconds: float
    parts: tuple[ComparisonDocument, ...]


class ManagedRestoreDocument(JsonDocument):
    """Describes the restore of a table or cluster by AWS."""

    service: str
    source: str = Field(description="ARN or id of the backup, or the moment that is restored")
    target: str


class RegionManagedRestoresDocument(JsonDocument):
    """Describes the restores by AWS in a region, for `--kind managed`."""

    region: str
    restores: tuple[ManagedRestoreDocument, ...]


class BackupRestoreDocument(Envelope):
    """Describes the output of `mjctl backup restore`.

    `regions` has only the region into which the backup is restored.
    """

    regions: tuple[PlannedRestoreDocument | RestoredDocument | RegionManagedRestoresDocument, ...]


class PruneDecisionDocument(JsonDocument):
    """Describes whether `mjctl backup prune` keeps or deletes a backup."""

    backup_id: str
    keep: bool
    reasons: tuple[str, ...] = Field(description="reasons to keep or to delete the backup")
    state: str
    size_bytes: int


class PlannedPruneDocument(JsonDocument):
    """Describes planned deletions that were not made, because of `--dry-run` or an error in another region."""

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
    scratch: str = Field(description="name of the scratch copy into which the drill restored the backup")
    removed: bool = Field(description="true if the scratch copy was removed")
    error: str | None
    seconds: dict[str, float] = Field(description="step of the drill -> duration of the step in seconds")
    not_proven: tuple[str, ...] = Field(description="parts of the backup that the drill did not compare")
    parts: tuple[ComparisonDocument, ...]
    checks: tuple[CheckDocument, ...]


class DrillsDocument(Envelope):
    """Describes the output of `mjctl backup drill`."""

    regions: tuple[DrillDocument | FailedRegionDocument, ...]


class CopiesDocument(JsonDocument):
    """Describes the restored copies of a region, for `mjctl backup discard` without NAME."""

    region: str
    copies: tuple[str, ...] = Field(description="names of the restored copies")


class DiscardedCopyDocument(JsonDocument):
    """Describes the deleted parts of a restored copy."""

    region: str
    removed: tuple[str, ...] = Field(description="names of the deleted parts; empty if the region has no copy NAME")


class BackupDiscardDocument(Envelope):
    """Describes the output of `mjctl backup discard`."""

    regions: tuple[CopiesDocument | DiscardedCopyDocument | FailedRegionDocument, ...]
