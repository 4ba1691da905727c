from __future__ import annotations

from pathlib import Path

import pytest

from tools import checkout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("docs/page.md", "code.py", ".venv/other.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    return tmp_path


def test_files_of_the_repository_are_listed_by_suffix() -> None:
    assert "tools/checkout.py" in checkout.tracked_files(".py")
    assert "tools/checkout.py" not in checkout.tracked_files(".md")


def test_an_unpacked_archive_without_git_lists_files_outside_of_hidden_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert checkout.tracked_files(".md") == ["docs/page.md"]
    assert checkout.tracked_files("") == ["code.py", "docs/page.md"]
