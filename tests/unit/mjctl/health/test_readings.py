from __future__ import annotations

from pathlib import Path

from mjctl.health.readings import since_last


def test_a_counter_is_compared_with_the_last_run(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert since_last(folder, "evicted_keys", 7) is None, "the first run has no earlier value"
    assert since_last(folder, "evicted_keys", 7) == 0, "an old eviction does not warn again"
    assert since_last(folder, "evicted_keys", 9) == 2
    assert since_last(folder, "evicted_keys", 3) == 3, "the service was restarted"
    assert (folder / "health-readings.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_or_unwritable_file_makes_a_first_run(tmp_path: Path) -> None:
    (tmp_path / "health-readings.json").write_text("[1")
    assert since_last(tmp_path, "evicted_keys", 7) is None
    (tmp_path / "file").write_text("")
    assert since_last(tmp_path / "file" / "below", "evicted_keys", 7) is None
