"""Decides by a retention policy which backups to keep, and removes the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from mjctl.clients.objects import ObjectStore
from mjctl.models.backup import MANIFEST_NAME, BackupEntry, BackupState, PruneDecision, PrunePlan, RetentionPolicy

# S3 does not show whether the process that writes a backup is still running. If a backup in S3 has got no new object
# for 6 hours, mjctl regards the process that writes the backup as stopped.
ABANDONED_AFTER = timedelta(hours=6)


def plan(
    entries: Sequence[BackupEntry],
    policy: RetentionPolicy,
    *,
    knows_writers: bool,
    now: datetime | None = None,
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> PrunePlan:
    """Decide for each backup whether to keep or to remove the backup.

    The retention policy selects among the complete backups only. A damaged backup is kept, because an operator should
    examine the damage. An incomplete backup is removed if the process that wrote the backup has stopped.

    Args:
        knows_writers: True if the entries' `in_use` shows whether a process is writing the backup; False to remove
            an incomplete backup when its last object is older than `abandoned_after`.
        now: the current time; None for the clock of this machine.
    """
    moment = now or datetime.now(UTC)
    complete = sorted(
        (entry for entry in entries if entry.state is BackupState.COMPLETE),
        key=lambda entry: entry.created_at,
        reverse=True,
    )
    kept = _kept(complete, policy)
    decisions = []
    for entry in sorted(entries, key=lambda entry: (entry.created_at, entry.backup_id)):
        match entry.state:
            case BackupState.COMPLETE:
                reasons = kept.get(entry.backup_id, ())
                decisions.append(PruneDecision(entry, bool(reasons), reasons or ("not kept by the policy",)))
            case BackupState.DAMAGED:
                decisions.append(PruneDecision(entry, True, ("damaged: `mjctl backup verify` shows the damage",)))
            case BackupState.INCOMPLETE:
                dead = not entry.in_use and (knows_writers or moment - entry.last_written_at >= abandoned_after)
                decisions.append(
                    PruneDecision(
                        entry,
                        not dead,
                        ("incomplete: the command that wrote it was stopped" if dead else "being written",),
                    )
                )
    return PrunePlan(tuple(decisions))


async def prune(
    store: ObjectStore, decided: PrunePlan, *, on_removed: Callable[[BackupEntry], None] = lambda _entry: None
) -> int:
    """Remove the backups that the plan `decided` removes.

    The manifest of a backup is removed before the chunks, so that a backup whose removal is interrupted counts as
    incomplete.

    Returns:
        The number of bytes that were freed.
    """
    freed = 0
    for entry in decided.removed:
        names = sorted(entry.objects, key=lambda name: name != MANIFEST_NAME)
        await store.delete([f"{entry.backup_id}/{name}" for name in names])
        freed += entry.size_bytes
        on_removed(entry)
    return freed


def _kept(newest_first: Sequence[BackupEntry], policy: RetentionPolicy) -> dict[str, tuple[str, ...]]:
    periods: list[tuple[str, int, Callable[[datetime], object]]] = [
        ("daily", policy.daily, lambda at: at.date()),
        ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: (at.year, at.month)),
    ]
    reasons: dict[str, list[str]] = {entry.backup_id: ["last"] for entry in newest_first[: policy.last]}
    for name, limit, period_of in periods:
        seen: set[object] = set()
        for entry in newest_first:
            period = period_of(entry.created_at.astimezone(UTC))
            if period not in seen and len(seen) < limit:
                seen.add(period)
                reasons.setdefault(entry.backup_id, []).append(name)
    return {backup_id: tuple(names) for backup_id, names in reasons.items()}
