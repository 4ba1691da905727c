from __future__ import annotations

import io
import re

import pytest

from mjctl.cli.output import progress as module
from mjctl.cli.output.console import SafeConsole
from mjctl.cli.output.progress import Progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def shown(terminal: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize(("total", "text"), [(None, " 120 "), (300, " 120/300 ")])
def test_progress_is_shown_with_and_without_a_total(terminal: Terminal, total: float | None, text: str) -> None:
    with Progress(SafeConsole(terminal)) as progress:
        task = progress.add_task("redriving", total)
        progress.update(task, completed=120)
    assert "redriving" in shown(terminal)
    assert text in shown(terminal)


def test_the_total_of_a_task_can_be_set_later(terminal: Terminal) -> None:
    with Progress(SafeConsole(terminal)) as progress:
        task = progress.add_task("sweeping")
        progress.update(task, completed=1, total=7)
        progress.advance(task, 2)
    assert " 3/7 " in shown(terminal)


def test_a_label_is_printed_without_markup_and_control_characters(terminal: Terminal) -> None:
    with Progress(SafeConsole(terminal)) as progress:
        progress.add_task("[red]a\x07[/]")
    assert r"[red]a\x07[/]" in shown(terminal)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "1")])
def test_a_plain_terminal_and_ci_get_lines_instead_of_bars(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "_LINE_INTERVAL_SECONDS", 0)
    with Progress(SafeConsole(terminal)) as progress:
        task = progress.add_task("redriving")
        progress.update(task, completed=5)
    assert terminal.getvalue() == "redriving: 5 after 0 s\n"


def test_short_work_in_a_pipe_prints_no_line() -> None:
    pipe = io.StringIO()
    with Progress(SafeConsole(pipe)) as progress:
        progress.advance(progress.add_task("redriving"))
    assert pipe.getvalue() == ""


def test_quiet_hides_progress(terminal: Terminal) -> None:
    with Progress(SafeConsole(terminal, quiet=True)) as progress:
        progress.advance(progress.add_task("redriving"))
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("columns", [40, 56, 80, 200])
def test_a_number_is_never_cut_at_any_width(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with Progress(SafeConsole(terminal)) as progress:
        progress.update(progress.add_task("rehearsing ap-northeast-1"), completed=1_234_567)
    assert "rehearsing ap-northeast-1" in shown(terminal)
    assert "1234567" in shown(terminal)
    assert "…" not in shown(terminal)
