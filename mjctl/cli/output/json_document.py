"""The JSON document of a command. A run prints exactly one document.

The document is ASCII, so that every encoding can represent it and no control character reaches a terminal. A program
that parses the document gets the original text. Values that JSON cannot represent are written as follows:

- NaN and infinities: the strings `NaN`, `Infinity` and `-Infinity`, as in the JSON form of protocol buffers
- bytes: `{"base64": "..."}`
- times: ISO 8601
- keys of a map that are not strings: their JSON form, or UTF-8 text for bytes. If two keys would be equal, the later
  key gets the name of its type, as in `1 (int)`
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any

from mjctl.cli.output.printable import printable

# DEL is the only control character that Python's `json` does not escape in ASCII output.
_DELETE = "\\u007f"
_NOT_ASCII = re.compile(r"[^ -~\n]")

_CALLS = 10_000

_WRITTEN: ContextVar[bool] = ContextVar("mjctl_json_written", default=False)


def print_json(data: object, stream: IO[str]) -> None:
    """Write `data` to `stream` as the JSON document of this run."""
    text = json_text(data)
    _WRITTEN.set(True)
    stream.write(f"{text}\n")
    stream.flush()


def json_is_printed() -> bool:
    """Return whether this run has printed its JSON document, so that a later error prints no second document."""
    return _WRITTEN.get()


def forget_json() -> None:
    """Forget the document of the last run, because tests run several command lines in one process."""
    _WRITTEN.set(False)


def json_text(data: object) -> str:
    """Return the JSON of `data`, in ASCII."""
    with deep_values():
        text = json.dumps(json_ready(data), indent=2, allow_nan=False)
    return text.replace("\x7f", _DELETE)


def json_for_people(data: object, encoding: str) -> str:
    """Return the JSON of `data` for a terminal: unsafe characters become escapes, and all other characters stay.

    Args:
        encoding: Encoding of the stream. If the encoding is not a UTF encoding, the result is ASCII.
    """
    if not encoding.lower().startswith("utf"):
        return json_text(data)
    with deep_values():
        text = json.dumps(json_ready(data), indent=2, allow_nan=False, ensure_ascii=False)
    return _NOT_ASCII.sub(lambda match: _safe_in_json(match[0]), text)


@contextmanager
def deep_values() -> Iterator[None]:
    """Raise Python's recursion limit while a cached value is converted.

    A cached value in MessagePack can have 511 levels of nesting, and each level needs several calls of functions.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _safe_in_json(character: str) -> str:
    if printable(character) == character:
        return character
    return _DELETE if character == "\x7f" else json.dumps(character)[1:-1]


def json_ready(value: Any) -> Any:
    """Convert a value to what JSON has: maps with string keys, lists, strings, finite numbers, booleans and null."""
    if value is None or isinstance(value, bool):
        return value
    for types, convert in _CONVERSIONS:
        if isinstance(value, types):
            return convert(value)
    if getattr(type(value), "is_document", False):
        # pydantic's `model_dump` is not used here, because it refuses the deep nesting that a cached value can have.
        fields = type(value).model_fields.items()
        return {field.alias or name: json_ready(getattr(value, name)) for name, field in fields}
    if hasattr(value, "model_dump"):
        return json_ready(value.model_dump(mode="json"))
    if hasattr(value, "__dataclass_fields__"):
        return {name: json_ready(getattr(value, name)) for name in value.__dataclass_fields__}
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _set(value: Set[Any]) -> list[Any]:
    return [json_ready(item) for item in sorted(value, key=lambda item: (type(item).__name__, str(item)))]


def _map(value: Mapping[Any, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    # Keys that are strings come first, so that a string never gets the name of its type as a suffix.
    for key in sorted(value, key=lambda key: not isinstance(key, str)):
        name = _key(key)
        while name in names:
            name = f"{name} ({type(key).__name__})"
        names[name] = key
    renamed = {id(key): name for name, key in names.items()}
    return {renamed[id(key)]: json_ready(item) for key, item in value.items()}


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    ready = json_ready(key)
    return ready if isinstance(ready, str) else json.dumps(ready)


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (str, str),
    (int, int),
    (float, _float),
    ((bytes, bytearray, memoryview), lambda value: {"base64": base64.b64encode(bytes(value)).decode()}),
    (Mapping, _map),
    ((set, frozenset), _set),
    ((list, tuple), lambda value: [json_ready(item) for item in value]),
)
