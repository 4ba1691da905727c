"""docs/code-map.md names files, functions and classes that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
PAGE = (PROJECT / "docs" / "code-map.md").read_text(encoding="utf-8")
# Matches a link to a file in docs/code-map.md, and the names of functions after the link.
_PLACE = re.compile(r"\[`([\w./-]+)`\]\(\.\./([\w./-]+)\)((?:,? `[A-Za-z_][\w.]*`)*)")
_FEWEST_QUESTIONS = 60


def places() -> list[tuple[str, str, list[str]]]:
    """Return the label, the target and the names of functions of each link to a file in docs/code-map.md."""
    return [(label, target, re.findall(r"`([^`]+)`", names)) for label, target, names in _PLACE.findall(PAGE)]


@cache
def defined(path: Path) -> set[str]:
    """Return the functions, classes, methods (`Class.method`) and constants that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


@pytest.mark.parametrize("target", sorted({target for _, target, _ in places()}))
def test_a_place_exists_with_its_functions(target: str) -> None:
    here = [(label, names) for label, other, names in places() if other == target]
    assert {label for label, _ in here} == {target}
    assert (PROJECT / target).exists()
    names = [name for _, listed in here for name in listed]
    assert [name for name in names if name not in defined(PROJECT / target)] == []


def test_every_row_names_a_test_or_a_command() -> None:
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| question", "| to add"))
    ]
    assert len(rows) >= _FEWEST_QUESTIONS
    assert [row for row in rows if "`tests/" not in row and "`make " not in row] == []
