"""Pages name files and folders that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("examples/*.md")]
_PATH = re.compile(
    r"(?<![\w/.}-])((?:bench|configs|docs|examples|gameserver|mjctl|terraform|tests|tools|web)/[\w./-]*\w)(?![\w<*{$])"
)


def _exists(path: str) -> bool:
    # A page may write `docs/decisions/0003` for the decision record with the number 0003.
    return (PROJECT / path).exists() or any((PROJECT / path).parent.glob(f"{Path(path).name}-*"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_paths_that_exist(page: Path) -> None:
    assert [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if not _exists(path)] == []
