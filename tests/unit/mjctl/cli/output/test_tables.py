from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from mjctl.cli.output.console import SafeConsole
from mjctl.cli.output.tables import Column, DataTable, counted, human_age, human_bytes, human_seconds

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
BACKUP = "20261129T013552114Z-61453b07"


def rendered(monkeypatch: pytest.MonkeyPatch, table: DataTable, width: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    SafeConsole(stream).print(table)
    return stream.getvalue().splitlines()


def servers() -> DataTable:
    table = DataTable(
        Column("SERVER"), Column("ZONE", 2), Column("PLAYERS", 1, right=True), Column("INCIDENT", 3, folds=True)
    )
    table.add_row("game-us-east-1a-1", "us-east-1a", "12/2000", "killed after 3 checks without an answer in 1 s each")
    table.add_row("game-us-east-1b-1", "us-east-1b", "7/2000", "")
    return table


def test_a_line_that_is_wide_enough_has_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(monkeypatch, servers(), 120) == [
        "SERVER             ZONE        PLAYERS  INCIDENT",
        "game-us-east-1a-1  us-east-1a  12/2000  killed after 3 checks without an answer in 1 s each",
        "game-us-east-1b-1  us-east-1b   7/2000",
    ]


def test_only_the_last_column_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(monkeypatch, servers(), 70) == [
        "SERVER             ZONE        PLAYERS  INCIDENT",
        "game-us-east-1a-1  us-east-1a  12/2000  killed after 3 checks without",
        "                                        an answer in 1 s each",
        "game-us-east-1b-1  us-east-1b   7/2000",
    ]


def test_columns_are_left_out_by_priority_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(monkeypatch, servers(), 39) == [
        "SERVER             ZONE        PLAYERS",
        "game-us-east-1a-1  us-east-1a  12/2000",
        "game-us-east-1b-1  us-east-1b   7/2000",
        "hidden for lack of room: INCIDENT",
    ]
    assert rendered(monkeypatch, servers(), 30)[0] == "SERVER             PLAYERS"
    assert rendered(monkeypatch, servers(), 22)[0] == "SERVER"


def test_a_message_of_priority_0_is_below_its_row_if_the_line_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("BACKUP"), Column("REMARK", folds=True))
    table.add_row(BACKUP, "no region has the key that opens this backup")
    assert rendered(monkeypatch, table, 40) == [
        "BACKUP",
        BACKUP,
        "    no region has the key that opens",
        "    this backup",
    ]


def test_rows_become_blocks_if_the_columns_of_priority_0_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("REGION"), Column("BACKUP"), Column("STATE"))
    table.add_row("us-east-1", BACKUP, "complete")
    table.add_row("eu-west-1", BACKUP, "damaged")
    assert rendered(monkeypatch, table, 40) == [
        "REGION  us-east-1",
        f"BACKUP  {BACKUP}",
        "STATE   complete",
        "",
        "REGION  eu-west-1",
        f"BACKUP  {BACKUP}",
        "STATE   damaged",
    ]


@pytest.mark.parametrize("width", [1, 5, 19, 20, 25, 40, 80, 200, 10_000])
def test_a_name_is_never_cut_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("REGION", 1), Column("BACKUP"), Column("MADE"), Column("REMARK", folds=True))
    table.add_row("ap-northeast-1", BACKUP, "12 min ago", f"copied from {BACKUP}x")
    text = "\n".join(rendered(monkeypatch, table, width))
    assert BACKUP in text
    assert f"{BACKUP}x" in text
    assert "12 min ago" in text


def test_an_empty_column_is_left_out_first_and_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("REGION"), Column("COMMIT", 1), Column("REVISION", 2))
    table.add_row("us-east-1", "", "230fc3c4")
    assert rendered(monkeypatch, table, 20) == ["REGION     REVISION", "us-east-1  230fc3c4"]


def test_a_very_long_cell_does_not_remove_columns_from_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("REGION", 2), Column("KEY"), Column("TTL", 1, right=True))
    table.add_row("us-east-1", "profile:1", "5m")
    table.add_row("us-east-1", "profile:" + "x" * 60, "1h 2m")
    assert rendered(monkeypatch, table, 40) == [
        "REGION     KEY          TTL",
        "us-east-1  profile:1     5m",
        "us-east-1  profile:" + "x" * 60,
        "                      1h 2m",
    ]


def test_data_cannot_control_the_terminal_and_is_not_read_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = DataTable(Column("KEY"))
    table.add_row("[red]a\x1b]0;t\x07b\nc[/] :smile: \u202e")
    text = rendered(monkeypatch, table, 200)[1]
    assert text == r"[red]a\x1b]0;t\x07b\nc[/] :smile: \u202e"


def test_wide_characters_keep_the_columns_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable(Column("NAME"), Column("N", right=True))
    table.add_row("東京", "1")
    table.add_row("abcd", "2")
    assert rendered(monkeypatch, table, 80) == ["NAME  N", "東京  1", "abcd  2"]


def test_a_table_without_rows_has_its_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(monkeypatch, DataTable(Column("A"), Column("B", folds=True)), 80) == ["A  B"]


def test_only_the_last_column_can_fold() -> None:
    with pytest.raises(ValueError, match="last"):
        DataTable(Column("MESSAGE", folds=True), Column("NAME"))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_bytes_are_shown_in_a_fitting_unit(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3725, "1h 2m"), (90061, "1d 1h")]
)
def test_seconds_are_shown_as_two_units(seconds: float | None, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(seconds=59.9), "59 s ago"),
        (timedelta(minutes=12, seconds=59), "12 min ago"),
        (timedelta(minutes=60), "1 h ago"),
        (timedelta(hours=47, minutes=59), "47 h ago"),
        (timedelta(hours=48), "2 d ago"),
        (timedelta(days=400), "400 d ago"),
        (timedelta(minutes=-5), "in 5 min"),
    ],
)
def test_the_age_of_a_time_is_shown_in_one_unit(ago: timedelta, text: str) -> None:
    instant = NOW - ago
    assert human_age(instant, NOW) == text
    assert human_age(instant.isoformat(), NOW) == text
    assert human_age(instant.replace(tzinfo=None), NOW) == text


@pytest.mark.parametrize(("instant", "text"), [(None, "-"), ("", "-"), ("yesterday", "yesterday")])
def test_an_invalid_time_is_shown_unchanged(instant: str | None, text: str) -> None:
    assert human_age(instant, NOW) == text


def test_an_age_counts_from_an_instant_in_any_zone() -> None:
    assert human_age("2026-11-29T06:48:00-05:00", NOW) == "12 min ago"
    assert human_age("2026-11-29T01:34:16+0000", NOW) == "10 h ago"


@pytest.mark.parametrize(
    ("count", "thing", "text"),
    [(0, "key", "0 keys"), (1, "key", "1 key"), (1, "match", "1 match"), (2, "match", "2 matches")],
)
def test_a_number_is_shown_with_its_noun(count: int, thing: str, text: str) -> None:
    assert counted(count, thing) == text
