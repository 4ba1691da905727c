"""Which backups stay: a plan that only looks, and its execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from mjctl.clients.objects import ObjectStore
from mjctl.models.backup import MANIFEST_NAME, BackupEntry, BackupState, PruneDecision, PrunePlan, RetentionPolicy

# Where a store cannot tell whether a writer is alive (S3), one that has stored nothing for so long is not.
ABANDONED_AFTER = timedelta(hours=6)


def plan(
    entries: Sequence[BackupEntry],
    policy: RetentionPolicy,
    *,
    knows_writers: bool,
    now: datetime | None = None,
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> PrunePlan:
    """Decide about each entry.

    Only complete backups count for the policy. A damaged one stays, because a person should look at it. What a stopped
    run has left goes: at once where the store knows that its writer is dead (`knows_writers`), else when it is old.
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
                decisions.append(PruneDecision(entry, True, ("damaged: look at it with `verify`",)))
            case BackupState.INCOMPLETE:
                dead = not entry.in_use and (knows_writers or moment - entry.last_written_at >= abandoned_after)
                decisions.append(
                    PruneDecision(entry, not dead, ("left by a stopped run" if dead else "being written",))
                )
    return PrunePlan(tuple(decisions))


async def prune(
    store: ObjectStore, decided: PrunePlan, *, on_removed: Callable[[BackupEntry], None] = lambda _entry: None
) -> int:
    """Remove what the plan says; bytes freed. A backup loses its manifest first: half removed it is none."""
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
