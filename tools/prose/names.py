"""Finds public names without a docstring, and variables whose name is no noun."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Names that say nothing about the value: a reader has to find where it came from.
VAGUE_VARIABLES = frozenset(
    {
        "one",
        "found",
        "made",
        "said",
        "told",
        "heard",
        "there",
        "gone",
        "such",
        "those",
        "who",
        "asked",
        "got",
        "seen_one",
    }
)
_NO_DOCSTRING_NEEDED = ("setter", "overload", "override", "deleter")


@dataclass(frozen=True)
class Name:
    """Names a definition.

    Attributes:
        file: path relative to the repository.
        line: line of the definition, counted from 1.
        name: dotted name inside the module.
    """

    file: str
    line: int
    name: str


def undocumented_names(sources: Mapping[str, str]) -> list[Name]:
    """List the public modules, classes, functions and methods without a docstring.

    Members of a Protocol, and methods that override a documented one of the same sources, need none.

    Args:
        sources: path -> text of the Python files. Base classes are found in all of them.
    """
    trees = {file: ast.parse(text) for file, text in sources.items()}
    classes = _Classes(trees)
    names = [Name(file, 1, "module") for file, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    for file, tree in trees.items():
        names += (Name(file, line, name) for line, name in _undocumented(tree, "", None, classes))
    return sorted(names, key=lambda name: (name.file, name.line))


def vague_variables(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each variable or parameter that is called by a word of `VAGUE_VARIABLES`.

    Annotated fields of a class are left out, because they may be keys of a JSON document.
    """
    tree = ast.parse(text)
    fields = {
        child.target
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) if name in VAGUE_VARIABLES:
                if node not in fields:
                    yield node.lineno, name


class _Classes:
    """Knows the bases and the methods of every class, by the class's name."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self._bases: dict[str, set[str]] = {}
        self._methods: dict[str, set[str]] = {}
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] for base in node.bases}
                    self._bases.setdefault(node.name, set()).update(bases)
                    self._methods.setdefault(node.name, set()).update(_functions(node))

    def is_protocol(self, name: str) -> bool:
        return "Protocol" in self._bases.get(name, ())

    def overrides(self, name: str, method: str) -> bool:
        return any(method in self._methods.get(base, ()) for base in self._ancestors(name))

    def _ancestors(self, name: str) -> set[str]:
        ancestors: set[str] = set()
        waiting = set(self._bases.get(name, ()))
        while waiting:
            base = waiting.pop()
            if base not in ancestors:
                ancestors.add(base)
                waiting |= self._bases.get(base, set())
        return ancestors


def _functions(node: ast.ClassDef) -> set[str]:
    return {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}


def _undocumented(node: ast.AST, prefix: str, owner: str | None, classes: _Classes) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If | ast.Try):
            yield from _undocumented(child, prefix, owner, classes)
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            if not ast.get_docstring(child):
                yield child.lineno, prefix + child.name
            yield from _undocumented(child, f"{prefix}{child.name}.", child.name, classes)
        elif not ast.get_docstring(child) and not _is_excepted(child, owner, classes):
            yield child.lineno, prefix + child.name


def _is_excepted(function: ast.FunctionDef | ast.AsyncFunctionDef, owner: str | None, classes: _Classes) -> bool:
    if any(ast.unparse(decorator).endswith(_NO_DOCSTRING_NEEDED) for decorator in function.decorator_list):
        return True
    return owner is not None and (classes.is_protocol(owner) or classes.overrides(owner, function.name))
