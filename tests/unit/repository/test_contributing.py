"""CONTRIBUTING.md says which tests cover a module whose name no test has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace

PROJECT = Workspace.discover(Path(__file__)).project_dir
PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def namesakes(module: str) -> list[Path]:
    """Return the tests that a module has by the mirror rule: `a/b.py` has `a/test_b.py` and `a/test_b_*.py`."""
    path = Path(module)
    stem = path.stem.strip("_")
    return [
        test
        for kind in ("unit", "integration")
        for pattern in (f"test_{stem}.py", f"test_{stem}_*.py")
        for test in (PROJECT / "tests" / kind / path.parent).glob(pattern)
    ]


def rows(page: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the modules and the tests of each row of the table in CONTRIBUTING.md."""
    table = page.split("| change in | run |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    for row in table.splitlines():
        changed, tests = row.strip("| ").split(" | ")
        yield [path for name in _code(changed) for path in expanded(name)], _code(tests)


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def expanded(name: str) -> list[str]:
    """Return the names that a name with braces stands for: `a/{b,c}.py` is `a/b.py` and `a/c.py`."""
    match = re.fullmatch(r"([^{]*)\{([^}]*)\}(.*)", name)
    return [f"{match[1]}{part}{match[3]}" for part in match[2].split(",")] if match else [name]


def modules() -> list[str]:
    paths = [path for package in ("mjctl", "gameserver") for path in sorted((PROJECT / package).rglob("*.py"))]
    return [str(path.relative_to(PROJECT)) for path in paths if path.name != "__init__.py"]


def test_every_module_has_a_test_of_its_name_or_a_row() -> None:
    listed = {module for changed, _ in rows(PAGE) for module in changed}
    assert [module for module in modules() if not namesakes(module) and module not in listed] == []


@pytest.mark.parametrize(("changed", "tests"), list(rows(PAGE)), ids=lambda cell: cell[0])
def test_a_row_names_files_that_exist(changed: list[str], tests: list[str]) -> None:
    assert tests
    assert [path for path in changed + tests if not (PROJECT / path).exists()] == []
    assert [test for test in tests if not test.startswith("tests/")] == []


def test_no_module_has_two_rows() -> None:
    listed = [module for changed, _ in rows(PAGE) for module in changed]
    assert sorted(listed) == sorted(set(listed))


def test_the_tests_of_a_module_are_found_by_its_name() -> None:
    assert [test.name for test in namesakes("gameserver/protocol.py")] == ["test_protocol.py", "test_protocol_page.py"]
    assert [test.name for test in namesakes("mjctl/local/__main__.py")] == ["test_main.py"]
    assert namesakes("mjctl/nowhere.py") == []


def test_every_test_path_on_the_page_exists() -> None:
    assert [path for path in set(re.findall(r"tests/[\w./]+\w", PAGE)) if not (PROJECT / path).exists()] == []
