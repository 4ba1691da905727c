"""Tests the state of a managed backup that AWS is still making, and the comparison of a table with its copy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mjctl.backup import managed
from mjctl.models.backup import BackupState, ManagedBackup, new_backup_id

CREATED_AT = datetime(2026, 11, 29, 6, tzinfo=UTC)
NAME = f"mjctl-{new_backup_id(CREATED_AT).lower()}"


def part(state: str, created_at: datetime | None = CREATED_AT) -> ManagedBackup:
    return ManagedBackup("rds", "cluster", NAME, state, created_at)


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
def test_the_state_of_a_run_follows_from_the_states_of_its_parts(
    states: tuple[str, ...], expected: BackupState
) -> None:
    entry = managed._entry(NAME, [part(state) for state in states])
    assert entry.state is expected
    assert entry.in_use is (expected is BackupState.IN_PROGRESS)


def test_a_run_without_any_date_has_the_date_in_its_name() -> None:
    # RDS sets the creation date of a snapshot only when the snapshot is complete.
    assert managed._entry(NAME, [part("creating", None), part("creating", None)]).created_at == CREATED_AT


@pytest.mark.parametrize(
    ("expected", "live", "restored", "plausible"),
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
def test_a_copy_has_the_number_of_items_that_was_counted(
    expected: int, live: int, restored: int, plausible: bool
) -> None:
    assert managed._as_counted(expected, live, restored) is plausible


@pytest.mark.parametrize(
    ("sampled", "same", "restored", "plausible"),
    [(200, 200, 900, True), (200, 120, 900, True), (200, 99, 900, False), (0, 0, 0, True), (0, 0, 5, False)],
)
def test_half_of_a_sample_of_the_copy_equals_the_live_table(
    sampled: int, same: int, restored: int, plausible: bool
) -> None:
    assert managed._sample_matches(sampled, same, restored) is plausible
