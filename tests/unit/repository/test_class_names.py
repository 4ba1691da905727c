"""No two classes of the product have the same name, so that a name means the same everywhere."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir


def duplicates(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the places of each class name that several classes have.

    Args:
        sources: Pairs of a file's name and its text.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for name, text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    return {name: lines for name, lines in places.items() if len(lines) > 1}


def _product() -> Iterator[tuple[str, str]]:
    for package in ("mjctl", "gameserver"):
        for path in sorted((PROJECT / package).rglob("*.py")):
            yield str(path.relative_to(PROJECT)), path.read_text(encoding="utf-8")


def test_no_class_name_has_two_definitions() -> None:
    assert duplicates(_product()) == {}


def test_two_classes_with_the_same_name_are_reported() -> None:
    sources = [("a.py", "class Player: ...\nclass Match: ..."), ("b.py", "def make():\n    class Player: ...")]
    assert duplicates(sources) == {"Player": ["a.py:1", "b.py:2"]}
