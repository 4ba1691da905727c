from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mjctl.local import drains
from mjctl.models.drained import Drained, operator


@pytest.mark.parametrize(
    ("age", "message", "words"),
    [
        (timedelta(seconds=30), None, "drained by root@vm 30 s ago"),
        (timedelta(minutes=4), "new kernel", "drained by root@vm 4 min ago: new kernel"),
        (timedelta(hours=5), None, "drained by root@vm 5 h ago"),
        (timedelta(days=3), None, "drained by root@vm 3 days ago"),
        # The time of the drain can be in the future, if the clock of this machine is slow.
        (timedelta(seconds=-30), None, "drained by root@vm 0 s ago"),
    ],
)
def test_the_text_of_a_drain_has_operator_age_and_reason(age: timedelta, message: str | None, words: str) -> None:
    assert str(Drained("root@vm", (datetime.now(UTC) - age).isoformat(), message)) == words


def test_a_drain_is_kept_until_it_is_cleared(tmp_path: Path) -> None:
    assert drains.marks(tmp_path) == {}
    mark = Drained.now("new kernel")
    assert mark.by == operator()
    drains.mark(tmp_path, "game-a-1", mark)
    drains.mark(tmp_path, "game-a-2", Drained.now(None))
    assert drains.marks(tmp_path)["game-a-1"] == mark
    assert (tmp_path / "drained" / "game-a-1.json").stat().st_mode & 0o077 == 0
    drains.clear(tmp_path, "game-a-1")
    drains.clear(tmp_path, "game-a-1")
    assert list(drains.marks(tmp_path)) == ["game-a-2"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"by": 1, "at": "x"}', '{"by": "root@vm", "at": "yesterday"}'])
def test_a_damaged_record_is_no_drain(tmp_path: Path, text: str) -> None:
    (tmp_path / "drained").mkdir()
    (tmp_path / "drained" / "game-a-1.json").write_text(text)
    assert drains.marks(tmp_path) == {}
