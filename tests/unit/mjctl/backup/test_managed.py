"""How managed backups are judged: runs that AWS still works on, and copies of tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mjctl.backup import managed
from mjctl.models.backup import BackupState, ManagedBackup, new_backup_id

MADE = datetime(2026, 11, 29, 6, tzinfo=UTC)
NAME = f"mjctl-{new_backup_id(MADE).lower()}"


def part(state: str, made: datetime | None = MADE) -> ManagedBackup:
    return ManagedBackup("rds", "cluster", NAME, state, made)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("available", "AVAILABLE"), BackupState.COMPLETE),
        (("available", "creating"), BackupState.IN_PROGRESS),
        (("CREATING", "creating"), BackupState.IN_PROGRESS),
        (("available", "failed"), BackupState.DAMAGED),
        (("creating", "failed"), BackupState.DAMAGED),
        (("available", "deleted"), BackupState.DAMAGED),
    ],
)
def test_the_state_of_a_run(states: tuple[str, ...], expected: BackupState) -> None:
    entry = managed._entry(NAME, [part(state) for state in states])
    assert entry.state is expected
    assert entry.in_use is (expected is BackupState.IN_PROGRESS)


def test_a_run_without_any_date_has_the_one_in_its_name() -> None:
    """RDS gives a snapshot its date when it is done."""
    assert managed._entry(NAME, [part("creating", None), part("creating", None)]).created_at == MADE


@pytest.mark.parametrize(
    ("expected", "live", "found", "fits"),
    [
        (1_000_000, 1_000_000, 1_000_000, True),
        (1_000_000, 1_000_000, 1, False),
        (1_000_000, 1_000_000, 999_999, False),
        (1_000_000, 1_200_000, 1_000_003, True),
        (1_000_000, 1_200_000, 900_000, False),
        (1_000_000, 800_000, 999_990, True),
        (1_000_000, 800_000, 1_100_000, False),
        (0, 0, 0, True),
        (0, 0, 1, False),
    ],
)
def test_a_copy_holds_as_many_items_as_were_counted(expected: int, live: int, found: int, fits: bool) -> None:
    assert managed._as_counted(expected, live, found) is fits


@pytest.mark.parametrize(
    ("sampled", "same", "found", "fits"),
    [(200, 200, 900, True), (200, 120, 900, True), (200, 99, 900, False), (0, 0, 0, True), (0, 0, 5, False)],
)
def test_a_sample_of_the_copy_is_in_the_live_table(sampled: int, same: int, found: int, fits: bool) -> None:
    assert managed._sample_matches(sampled, same, found) is fits
