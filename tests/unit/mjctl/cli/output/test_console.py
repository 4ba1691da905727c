from __future__ import annotations

import io

import pytest
from rich.text import Text

from mjctl.cli.output.console import SafeConsole


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        (None, 10_000),
        ("", 10_000),
        ("0", 10_000),
        ("-1", 10_000),
        ("abc", 10_000),
        ("²", 10_000),
        ("9" * 5000, 10_000),
        ("1e3", 10_000),
        ("5", 20),
        ("40", 40),
        ("10000", 10_000),
        ("99999999", 10_000),
    ],
)
def test_any_value_of_columns_gives_a_width(columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    console = SafeConsole(io.StringIO())
    assert console.width == width
    console.print("some words")


def test_the_console_escapes_text_that_a_command_did_not_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    console = SafeConsole(stream)
    console.print("[red]a\x1b[2Jb[/] :smile:")
    console.print(Text("c\x1b]52;c;aGk=\x07d\u202e"))
    # Rich removes the character BEL from a Text before the console receives the Text.
    assert stream.getvalue().splitlines() == [r"[red]a\x1b[2Jb[/] :smile:", r"c\x1b]52;c;aGk=d\u202e"]


def test_no_color_writes_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    SafeConsole(stream).print("bold", style="bold red")
    assert "\x1b[" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    for console in (SafeConsole(stream := io.StringIO()), SafeConsole(stream, no_color=True)):
        console.print("bold", style="bold red")
    assert stream.getvalue() == "bold\nbold\n"


def test_a_line_is_neither_folded_nor_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    SafeConsole(stream).print("the backup 20261129T013552114Z-61453b07 is new")
    assert stream.getvalue() == "the backup 20261129T013552114Z-61453b07 is new\n"
