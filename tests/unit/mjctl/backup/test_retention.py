"""Tests which backups a retention policy keeps. The newest backup has the date 24 November 2026, a Tuesday."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjctl.backup.retention import ABANDONED_AFTER, plan, prune
from mjctl.models.backup import BackupEntry, BackupState, PrunePlan, RetentionPolicy, new_backup_id
from mjctl.models.errors import UsageError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def entry(created_at: datetime, state: BackupState = BackupState.COMPLETE) -> BackupEntry:
    return BackupEntry(new_backup_id(created_at), state, 1, ("manifest.json",), created_at, created_at)


def days(*back: int) -> list[BackupEntry]:
    return [entry(NOW - timedelta(days=number)) for number in back]


def ages(planned: PrunePlan, keep: bool) -> list[int]:
    ages_in_days = [(NOW - item.entry.created_at).days for item in planned.decisions if item.keep is keep]
    return sorted(ages_in_days)


def decide(entries: list[BackupEntry], knows_writers: bool = True, **policy: int) -> PrunePlan:
    return plan(entries, RetentionPolicy(**policy), knows_writers=knows_writers, now=NOW)


def test_the_newest_backups_of_each_day_week_and_month_are_kept() -> None:
    entries = days(*range(70))
    assert ages(decide(entries, last=2), keep=True) == [0, 1]
    assert ages(decide(entries, daily=3), keep=True) == [0, 1, 2]
    # The newest backup is of Tuesday, 24 November, so the newest backups of earlier weeks are 2 and 9 days older, of
    # Sundays.
    assert ages(decide(entries, weekly=3), keep=True) == [0, 2, 9]
    assert ages(decide(entries, monthly=3), keep=True) == [0, 24, 55]


def test_of_several_backups_in_a_day_the_newest_is_kept() -> None:
    entries = [entry(NOW - timedelta(hours=hours)) for hours in (0, 1, 2, 30)]
    kept = [item.entry.created_at for item in decide(entries, daily=2).decisions if item.keep]
    assert kept == [NOW - timedelta(hours=30), NOW]


def test_a_decision_has_reasons() -> None:
    first, second = decide(days(40, 0), last=1, monthly=1).decisions
    assert (second.keep, second.reasons) == (True, ("last", "monthly"))
    assert (first.keep, first.reasons) == (False, ("not kept by the policy",))


def test_damaged_backups_are_kept_and_do_not_count() -> None:
    whole, damaged = entry(NOW - timedelta(days=5)), entry(NOW, BackupState.DAMAGED)
    planned = decide([whole, damaged], last=1)
    assert planned.removed == ()


@pytest.mark.parametrize(
    ("in_use", "knows_writers", "age", "goes"),
    [
        (False, True, timedelta(0), True),
        (True, True, timedelta(days=9), False),
        (False, False, timedelta(hours=1), False),
        (False, False, ABANDONED_AFTER, True),
    ],
)
def test_an_incomplete_backup_is_removed_when_its_writer_has_stopped(
    in_use: bool, knows_writers: bool, age: timedelta, goes: bool
) -> None:
    left = replace(entry(NOW - age, BackupState.INCOMPLETE), in_use=in_use)
    assert (decide([left], knows_writers, last=1).removed == (left,)) is goes


def test_a_policy_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        RetentionPolicy()


@given(
    st.lists(st.integers(0, 3000), unique=True, max_size=60),
    st.tuples(*[st.integers(0, 5)] * 4).filter(any),
)
def test_the_newest_backup_is_kept_and_no_more_than_the_policy_allows(
    hours: list[int], numbers: tuple[int, ...]
) -> None:
    entries = [entry(NOW - timedelta(hours=number)) for number in hours]
    planned = plan(entries, RetentionPolicy(*numbers), knows_writers=True, now=NOW)
    kept = [item.entry for item in planned.decisions if item.keep]
    assert len(kept) <= sum(numbers)
    if entries:
        assert max(entries, key=lambda item: item.created_at) in kept
    assert len(planned.decisions) == len(entries)


class Deleting:
    """Records the names of deleted objects, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def delete(self, names: list[str]) -> None:
        self.names += names


async def test_the_manifest_is_deleted_first() -> None:
    old = replace(entry(NOW - timedelta(days=1)), objects=("cache.a.000000", "manifest.json", "table.b.000000"))
    store = Deleting()
    freed = await prune(store, decide([old, entry(NOW)], last=1))  # type: ignore[arg-type]
    assert store.names[0] == f"{old.backup_id}/manifest.json"
    assert len(store.names) == 3
    assert freed == 1
