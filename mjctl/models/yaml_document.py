"""Reads YAML files that people write, and rejects values that YAML 1.1 reads differently from what a person expects.

PyYAML follows YAML 1.1, in which `010` is 8 and `1:30` is 90 (https://yaml.org/type/). A person who writes `010` or
`1:30` rarely means 8 or 90. `read_document` rejects `010`, `1:30`, dates, and a key such as `on`, which YAML reads as
true. An error of `read_document` names the line and the spelling that the person should write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mjctl.models.errors import ConfigError

_MAX_DEPTH = 20
# A few lines with YAML aliases can expand to billions of values. No environment's file needs more than 20000 values.
_MAX_VALUES = 20_000
_MAX_DIGITS = 18
_PREFIX = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_DECIMAL_FRACTION = re.compile(r"[-+]?[0-9]*\.?[0-9]*([eE][-+][0-9]+)?\Z")


@dataclass(frozen=True)
class Document:
    """Holds the value of a YAML file and finds the line of each of its parts.

    Attributes:
        path: The file.
        value: The file's content as Python values.
        root: The file's tree of YAML nodes, which know their lines; None if the file is empty.
    """

    path: Path
    value: Any
    root: yaml.Node | None

    def line_of(self, location: Sequence[Any]) -> int:
        """Return the line, counted from 1, of the deepest part of `location` that the file contains.

        Args:
            location: The keys and list positions that lead from the root to a value.
        """
        node, line = self.root, self.root.start_mark.line + 1 if self.root is not None else 1
        for part in location:
            step = _step_into(node, part)
            if step is None:
                break
            node, line = step
        return line

    def text_at(self, location: Sequence[Any]) -> str | None:
        """Return the scalar at `location` as the file spells it, without quotes; None if `location` has no scalar."""
        node = self.root
        for part in location:
            step = _step_into(node, part)
            if step is None:
                return None
            node = step[0]
        return node.value if isinstance(node, yaml.ScalarNode) else None


def read_document(path: Path, text: str) -> Document:
    """Read a document of plain values: mappings, lists, texts, numbers, true, false and null.

    Args:
        path: The file's name for error messages.
        text: The file's content.

    Raises:
        ConfigError: the text is not YAML, or contains a value that is not allowed. The attribute `where` of the
            ConfigError has file and line.
    """
    try:
        _refuse_shapes(path, text)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is not None:
            _check(path, root, seen=set())
        value = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML: {error.problem or error}", where=place) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        # PyYAML reports a character that is not allowed as its number in Unicode.
        shown = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        raise ConfigError(
            f"not valid YAML: the character {shown} is not allowed",
            where=f"{path}:{line}",
            hint="delete this character",
        ) from None
    return Document(path, value, root)


def _refuse_shapes(path: Path, text: str) -> None:
    """Reject deep nesting, values that contain themselves and huge expansions, in the parser's flat stream of events.

    Building the tree of a deeply nested file would exhaust Python's stack, and the error would not name a line.
    """
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    total = 0
    for event in _events(path, text):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append((event.anchor, total))
            if len(open_anchors) > _MAX_DEPTH:
                raise ConfigError(f"values are nested more than {_MAX_DEPTH} deep", where=f"{path}:{line}")
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_anchors.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_anchors):
                raise ConfigError(
                    f"the alias `*{event.anchor}` refers to the value that it is part of",
                    where=f"{path}:{line}",
                    hint="replace the alias by the value that you mean",
                )
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
        if total > _MAX_VALUES:
            raise ConfigError(f"the file has more than {_MAX_VALUES} values", where=f"{path}:{line}")


def _events(path: Path, text: str) -> Iterator[yaml.Event]:
    loader = yaml.SafeLoader(text)
    while True:
        try:
            if not loader.check_event():
                return
            event = loader.get_event()  # type: ignore[no-untyped-call]
        except (ValueError, OverflowError) as error:
            # PyYAML raises ValueError or OverflowError for an escape above Unicode's last character, e.g. \UFFFFFFFF.
            line = loader.get_mark().line + 1
            raise ConfigError(f"a value cannot be read: {error}", where=f"{path}:{line}") from None
        yield event


def _check(path: Path, node: yaml.Node, seen: set[int]) -> None:
    """Check each node of a tree once: several aliases can lead to one node. `seen` has the ids of the checked nodes."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(path, node)
    elif isinstance(node, yaml.SequenceNode):
        _refuse_tag(path, node, ("seq",))
        for item in node.value:
            _check(path, item, seen)
    elif isinstance(node, yaml.MappingNode):
        _refuse_tag(path, node, ("map",))
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            _check_key(path, key)
            if key.value in lines:
                raise ConfigError(
                    f"the key `{key.value}` is written twice (first on line {lines[key.value]})",
                    where=f"{path}:{line}",
                    hint="keep one of the two lines",
                )
            lines[key.value] = line
            _check(path, value, seen)


def _check_key(path: Path, key: yaml.Node) -> None:
    place = f"{path}:{key.start_mark.line + 1}"
    if not isinstance(key, yaml.ScalarNode):
        raise ConfigError(
            "a key must be text, and this key is a list or a mapping",
            where=place,
            hint="put a text that begins with [ or { in quotes; templates such as {{ name }} do not exist in YAML",
        )
    _refuse_tag(path, key, ("str", "merge", "bool", "int", "float", "null", "timestamp", "value"))
    kind = key.tag.removeprefix(_PREFIX)
    if kind not in ("str", "merge"):
        raise ConfigError(
            f"the key `{key.value}` is not text: {_reading(key)}",
            where=place,
            hint=f'write the key in quotes: "{key.value}"',
        )


def _check_scalar(path: Path, node: yaml.ScalarNode) -> None:
    _refuse_tag(path, node, ("str", "int", "float", "bool", "null", "timestamp"))
    kind = node.tag.removeprefix(_PREFIX)
    place = f"{path}:{node.start_mark.line + 1}"
    text = node.value
    if kind == "int" and len(text.lstrip("+-")) > _MAX_DIGITS:
        hint = f'if the value is text, write it in quotes: "{_short(text)}"'
        raise ConfigError(f"the number {_short(text)} has more than {_MAX_DIGITS} digits", where=place, hint=hint)
    if kind == "int" and not _DECIMAL.match(text):
        value = _value(node)
        if value is None:
            raise ConfigError(f"`{_short(text)}` is not a whole number", where=place)
        hint = f'write {_written(text, value)}, or "{text}" in quotes if it is text'
        raise ConfigError(f"YAML reads `{_short(text)}` as the number {_short(str(value))}", where=place, hint=hint)
    if kind == "float":
        number = _value(node)
        if number is None:
            raise ConfigError(f"`{_short(text)}` is not a number", where=place)
        if not math.isfinite(number):
            raise ConfigError(f"`{_short(text)}` is not a finite number", where=place)
        if not _DECIMAL_FRACTION.match(text):
            hint = f'write {number:g}, or "{text}" in quotes if it is text'
            raise ConfigError(f"YAML reads `{_short(text)}` as the number {number:g}", where=place, hint=hint)
    if kind == "timestamp":
        raise ConfigError(
            f"YAML reads `{text}` as a date, and no field of an environment is a date",
            where=place,
            hint=f'write the value in quotes: "{text}"',
        )
    if kind in ("bool", "null") and _value(node, missing=_BAD) is _BAD:
        raise ConfigError(f"`{_short(text)}` is not {'true or false' if kind == 'bool' else 'null'}", where=place)


_BAD = object()


def _value(node: yaml.ScalarNode, missing: Any = None) -> Any:
    """Return the value that YAML 1.1 gives a scalar, or `missing` if the scalar's text does not fit its tag."""
    if node.tag == _PREFIX + "null":
        return None if node.value in ("", "~", "null", "Null", "NULL") else missing
    constructor = yaml.constructor.SafeConstructor()
    try:
        return constructor.construct_object(node)
    except (ValueError, OverflowError, KeyError, IndexError, yaml.YAMLError):
        return missing


def _written(text: str, value: int) -> str:
    """Return the decimal spellings that a number can mean: YAML's value, and the plain decimal value if it differs."""
    plain = text.replace("_", "").lstrip("0") or "0"
    if plain.isdecimal() and plain != str(value):
        return f"{value} or {plain}"
    return str(value)


def _reading(key: yaml.ScalarNode) -> str:
    kind = key.tag.removeprefix(_PREFIX)
    if kind == "bool":
        return f"YAML reads it as {str(_value(key)).lower()}"
    return {"null": "YAML reads it as null", "timestamp": "YAML reads it as a date"}.get(
        kind, "YAML reads it as a number"
    )


def _refuse_tag(path: Path, node: yaml.Node, kinds: Sequence[str]) -> None:
    if node.tag.removeprefix(_PREFIX) in kinds and node.tag.startswith(_PREFIX):
        return
    shown = node.tag.replace(_PREFIX, "!!")
    raise ConfigError(
        f"the tag `{_short(shown)}` is not supported: an environment's file contains plain values only",
        where=f"{path}:{node.start_mark.line + 1}",
        hint="write the value itself, or put a text that begins with ! in quotes",
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _step_into(node: yaml.Node | None, part: Any) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value, value.start_mark.line + 1
    return None
