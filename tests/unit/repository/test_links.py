"""Every link of every Markdown file leads to a file and a heading that exist."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace
from tools.markdown_links import broken

PROJECT = Workspace.discover(Path(__file__)).project_dir


@cache
def pages() -> list[str]:
    """Return the Markdown files under version control, and new files that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in listed if (PROJECT / name).is_file()]


@pytest.mark.parametrize("page", pages())
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    assert broken(PROJECT / page, PROJECT) == []
