"""Every link of every Markdown file leads to a file and a heading that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace
from tools.checkout import tracked_files
from tools.markdown_links import broken

PROJECT = Workspace.discover(Path(__file__)).project_dir


@pytest.mark.parametrize("page", tracked_files(".md"))
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    assert broken(PROJECT / page, PROJECT) == []
