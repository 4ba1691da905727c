"""Extracts the passages of prose from Python, Terraform, Markdown, YAML, JavaScript and Makefiles."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tools.checkout import ROOT, tracked_files

SUFFIXES = (".py", ".md", ".tf", ".hcl", ".yaml", ".yml", ".js", ".mjs", ".css", ".toml", "Makefile")
"""Ends of the names of files that contain prose."""

# Programs write these. Their sources are checked instead.
GENERATED = ("docs/cli.md", "docs/schemas/", "gameserver/requirements.txt", "LICENSE")
# The texts of these files quote bad style on purpose.
QUOTING = ("docs/writing.md", "tools/prose/rules.py", "tests/unit/tools/prose/")
_SHORTEST_MESSAGE_WORDS = 3
_MESSAGE_ARGUMENTS = frozenset({"hint", "help", "reason", "summary", "advice", "detail", "description"})


class Kind(StrEnum):
    """Names the place that a passage comes from."""

    COMMENT = "comment"
    DOCSTRING = "docstring"
    MESSAGE = "message"
    TEST_NAME = "test name"
    PAGE = "page"


@dataclass(frozen=True)
class Passage:
    """Holds one passage of prose, with blanks collapsed.

    Attributes:
        file: path relative to the repository.
        line: line of the file, counted from 1.
        kind: the kind of text to which the passage belongs.
        text: the sentences, without comment signs or markup.
        name: dotted name of the object that a docstring describes, "" for other kinds.
    """

    file: str
    line: int
    kind: Kind
    text: str
    name: str = ""


def checked_files(*suffixes: str) -> list[str]:
    """List the files with one of `suffixes` that are written by hand and do not quote bad style on purpose."""
    return [name for name in tracked_files(*suffixes) if not name.startswith((*GENERATED, *QUOTING))]


def all_passages() -> Iterator[Passage]:
    """Yield every passage of the repository, file by file."""
    for name in checked_files(*SUFFIXES):
        yield from passages_of(name, (ROOT / name).read_text())


def passages_of(name: str, text: str) -> Iterator[Passage]:
    """Yield the passages of one file, by the suffix of its `name`."""
    match Path(name).suffix:
        case ".py":
            yield from _python(name, text)
        case ".md":
            yield from _markdown(name, text)
        case ".js" | ".mjs" | ".css":
            yield from _comments(name, text, r"^\s*(?://|/?\*+)\s?")
        case _:
            yield from _comments(name, text, r"^\s*#+ ?")
            yield from _descriptions(name, text)


def _python(name: str, text: str) -> Iterator[Passage]:
    yield from _python_comments(name, text)
    tree = ast.parse(text)
    for node, dotted in _with_names(tree, ""):
        documented = ast.get_docstring(node)
        if documented and isinstance(node.body[0], ast.Expr):
            yield Passage(name, node.body[0].lineno, Kind.DOCSTRING, _collapse(documented, keep_lines=True), dotted)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield Passage(name, node.lineno, Kind.TEST_NAME, node.name.removeprefix("test_").replace("_", " "))
    if not name.startswith("tests/"):
        yield from _messages(name, tree)


def _with_names(
    node: ast.AST, prefix: str
) -> Iterator[tuple[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    if isinstance(node, ast.Module):
        yield node, ""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, prefix + child.name
            yield from _with_names(child, f"{prefix}{child.name}.")
        else:
            yield from _with_names(child, prefix)


def _python_comments(name: str, text: str) -> Iterator[Passage]:
    block: list[str] = []
    begin = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or re.match(r"#\s*(noqa|type:|pragma|cython|cdef|distutils|!)", token.string):
            continue
        line = token.start[0]
        whole_line = token.line[: token.start[1]].strip() == ""
        if block and not (whole_line and line == last + 1):
            yield Passage(name, begin, Kind.COMMENT, _collapse(" ".join(block)))
            block = []
        if not block:
            begin = line
        block.append(re.sub(r"\s*(#\s*)?(noqa|type: ignore)\b.*$", "", token.string.lstrip("# ")))
        last = line if whole_line else 0
    if block:
        yield Passage(name, begin, Kind.COMMENT, _collapse(" ".join(block)))


def _messages(name: str, tree: ast.Module) -> Iterator[Passage]:
    """Yield the texts that a user reads: what is raised, and the arguments named in `_MESSAGE_ARGUMENTS`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        raised = isinstance(node.func, ast.Name | ast.Attribute) and ast.unparse(node.func).endswith("Error")
        shown = isinstance(node.func, ast.Attribute) and node.func.attr in {"say", "warn", "confirm"}
        arguments = [*node.args[:1]] if raised or shown else []
        arguments += [keyword.value for keyword in node.keywords if keyword.arg in _MESSAGE_ARGUMENTS]
        for argument in arguments:
            text = _literal(argument)
            if len(text.split()) >= _SHORTEST_MESSAGE_WORDS:
                yield Passage(name, argument.lineno, Kind.MESSAGE, _collapse(text))


def _literal(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in values)
        case ast.BinOp(left=left, right=right):
            return _literal(left) + _literal(right)
        case _:
            return ""


def _markdown(name: str, text: str) -> Iterator[Passage]:
    text = re.sub(r"<!--.*?-->", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    paragraph: list[str] = []
    begin, fenced = 1, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        fence = line.lstrip().startswith(("```", "~~~"))
        starts = bool(re.match(r"\s*([-*+]|\d+\.)\s|#|\|", line))
        if paragraph and (fence or starts or not line.strip()):
            yield Passage(name, begin, Kind.PAGE, _collapse(_without_markup(" ".join(paragraph))))
            paragraph = []
        fenced ^= fence
        if fence or fenced or not line.strip() or line.lstrip().startswith("|"):
            continue
        if not paragraph:
            begin = number
        paragraph.append(re.sub(r"^\s*([-*+]|\d+\.|#+|>)\s+", "", line))


def _without_markup(text: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|__", "", text)


def _comments(name: str, text: str, sign: str) -> Iterator[Passage]:
    block: list[str] = []
    begin = 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if re.match(sign, line) and not line.startswith("#!"):
            if not block:
                begin = number
            block.append(re.sub(sign, "", line))
        elif block:
            yield Passage(name, begin, Kind.COMMENT, _collapse(" ".join(block)))
            block = []


def _descriptions(name: str, text: str) -> Iterator[Passage]:
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*(?:description|error_message|message)\s*[=:]\s*"(.*)"\s*$', line)
        if match:
            yield Passage(name, number, Kind.MESSAGE, _collapse(re.sub(r"\$\{[^}]*\}", "X", match[1])))


def _collapse(text: str, *, keep_lines: bool = False) -> str:
    if keep_lines:
        return "\n".join(" ".join(line.split()) if line.strip() else "" for line in text.splitlines())
    return " ".join(text.split())
