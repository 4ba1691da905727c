"""Tests the report of the lint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.prose import __main__ as lint


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a bad module, a good module and a bad page."""
    names = {
        "tools/bad.py": '"""Adds."""\n\n\ndef add(one):\n    # Nobody calls this.\n    return one\n',
        "tools/good.py": '"""Adds."""\n',
        "docs/page.md": "The match goes on.\n",
    }
    for name, text in names.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(lint, "ROOT", tmp_path)
    monkeypatch.setattr(lint, "checked_files", lambda *suffixes: sorted(n for n in names if n.endswith(suffixes)))
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_all_findings_of_the_repository_are_reported() -> None:
    assert [line.split("\n")[0] for line in lint.lines_of([])] == [
        "docs/page.md:1: `goes on`: say `continues`",
        "tools/bad.py:5: `Nobody`: name the person or the program",
        "tools/bad.py:4: variable `one`: use the noun",
        "tools/bad.py:4: `add` has no docstring",
    ]


@pytest.mark.usefixtures("repository")
def test_a_path_limits_the_report() -> None:
    assert len(list(lint.lines_of(["docs"]))) == 1
    assert list(lint.lines_of(["./tools/good.py"])) == []
