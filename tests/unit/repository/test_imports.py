"""No modules import each other in a circle. import-linter checks the direction of imports (`make lint`)."""

from __future__ import annotations

import grimp
import pytest


def cycles(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the groups of modules that import each other, directly or through other modules of the group."""
    reachable = {module: _reachable(module, imports) for module in imports}
    groups = {
        frozenset(other for other in reached if module in reachable[other]) for module, reached in reachable.items()
    }
    return groups - {frozenset()}


def _reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    # Imports under TYPE_CHECKING count, because a reader of the code follows them too.
    graph = grimp.build_graph("mjctl", "gameserver", cache_dir=None, exclude_type_checking_imports=False)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_there_is_no_import_cycle(imports: dict[str, set[str]]) -> None:
    assert cycles(imports) == set()


def test_a_type_of_models_is_used_by_two_packages(imports: dict[str, set[str]]) -> None:
    users: dict[str, set[str]] = {module: set() for module in imports if module.startswith("mjctl.models.")}
    for importer, imported in imports.items():
        for module in imported & set(users):
            users[module].add(importer.split(".")[1])
    assert [module for module, packages in users.items() if len(packages) < 2 and packages != {"models"}] == []


def test_the_graph_has_every_package(imports: dict[str, set[str]]) -> None:
    assert {"gameserver.server.room", "mjctl.cli.commands.deploy"} <= set(imports)
    assert "mjctl.cli.app" in imports["mjctl.__main__"]


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, {frozenset("bc")}),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"e"}, "e": {"d"}}, {frozenset("abc"), frozenset("de")}),
    ],
)
def test_a_cycle_is_reported(imports: dict[str, set[str]], expected: set[frozenset[str]]) -> None:
    assert cycles(imports) == expected
