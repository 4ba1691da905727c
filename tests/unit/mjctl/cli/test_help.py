"""Tests of the help pages, as an 80-column terminal shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from mjctl.__main__ import run
from mjctl.cli.app import tree
from mjctl.cli.group import HEADINGS, variables


def pages(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from pages(child, (*path, name))


PAGES = list(pages(tree()))


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*path, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", PAGES, ids=lambda path: " ".join(path) or "mjctl")
def test_every_page_fits_80_columns_and_cuts_nothing(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(path, capsys)
    assert max(map(len, page.splitlines())) <= 80
    cut = [line for line in page.splitlines() if re.match(r"  [a-z-]+ +\S.*\.\.\.$", line)]
    assert cut == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: " ".join(path) or "mjctl")
def test_values_have_a_name_in_capitals_or_their_choices(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    page = shown(path, capsys)
    assert not re.search(r"\[\[|\.\.\.\]?\.\.\.", page)
    assert not re.search(r"list\[|<(int|float|str|path|list|bool|datetime)\b", page)
    first_heading = re.search(r"^[A-Z][a-z ]+:$", page, re.MULTILINE)
    assert first_heading is not None
    for line in page[first_heading.end() :].splitlines():
        if name := re.match(r"  (?:-\w, )?--[\w-]+(?:, -\w)?(?: / --[\w-]+)? ([^ /]+)", line):
            assert re.fullmatch(r"[A-Z][A-Z_=]*|[a-z|]+\|[a-z|]+", name[1]), line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: " ".join(path) or "mjctl")
def test_no_page_repeats_the_environment_variables(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert not re.search(r"env var|MJCTL_\w", shown(path, capsys))


def test_the_first_page_groups_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    page = shown((), capsys)
    assert [line[:-1] for line in page.splitlines() if line[:-1] in (*HEADINGS, "Commands")] == list(HEADINGS)
    for name in tree().commands:
        assert re.search(rf"^  {name} ", page, re.MULTILINE), name


def test_a_command_with_many_options_puts_them_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    headings = [line for line in shown(("deploy",), capsys).splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert len(headings) >= 4
    assert headings[-1] == "Options:"
    assert "Options:" in shown(("status",), capsys)


def test_one_page_lists_every_environment_variable_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "environment"]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    listed = re.findall(r"^  ([A-Z][A-Z_]+)", page, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {name for name, _, _ in variables(tree())} <= set(listed)
    assert {"MJCTL_HOME", "MJCTL_PROJECT_DIR", "MJCTL_TERRAFORM", "NO_COLOR", "CI"} <= set(listed)
