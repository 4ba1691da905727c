from __future__ import annotations

import pytest

from mjctl.cli.tables import counted, human_bytes, human_seconds


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_human_bytes(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3725, "1h 2m"), (90061, "1d 1h")]
)
def test_human_seconds(seconds: float | None, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "thing", "text"),
    [(0, "key", "0 keys"), (1, "key", "1 key"), (1, "match", "1 match"), (2, "match", "2 matches")],
)
def test_counted(count: int, thing: str, text: str) -> None:
    assert counted(count, thing) == text
