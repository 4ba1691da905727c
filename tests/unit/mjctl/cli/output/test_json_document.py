from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from mjctl.cli.output.json_document import json_for_people, json_text, print_json


class Word(StrEnum):
    READY = "ready"


class Number(IntEnum):
    SEVEN = 7


@dataclass(frozen=True)
class Row:
    name: str
    value: float


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (math.nan, "NaN"),
        ([math.inf, -math.inf, 1.5], ["Infinity", "-Infinity", 1.5]),
        (b"\x00\xff", {"base64": "AP8="}),
        ({b"key": 1, b"\xff": 2}, {"key": 1, "\\xff": 2}),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "1.5": "d", "null": "b", "false": "c"}),
        ({"1": "text", 1: "number"}, {"1": "text", "1 (int)": "number"}),
        ({1: "number", "1": "text"}, {"1": "text", "1 (int)": "number"}),
        ({(1, "a"): 1}, {'[1, "a"]': 1}),
        ({3, 1, "x"}, [1, 3, "x"]),
        ((1, 2), [1, 2]),
        (Word.READY, "ready"),
        (Number.SEVEN, 7),
        ({Word.READY: Number.SEVEN}, {"ready": 7}),
        (Row("a", math.nan), {"name": "a", "value": "NaN"}),
        (datetime(2026, 11, 29, tzinfo=UTC), "2026-11-29T00:00:00+00:00"),
        ("lone \ud800 \x1b \u202e \x7f 🙂", "lone \ud800 \x1b \u202e \x7f 🙂"),
        (True, True),
    ],
)
@pytest.mark.parametrize("people", [False, True])
def test_every_value_is_json_that_a_strict_parser_accepts(value: Any, read: Any, people: bool) -> None:
    text = json_for_people(value, "utf-8") if people else json_text(value)
    assert json.loads(text, parse_constant=refuse) == read


def test_json_keeps_the_order_of_a_map() -> None:
    assert list(json.loads(json_text({2: "b", "a": 1, 1: "c"}))) == ["2", "a", "1"]


def test_json_for_programs_is_printable_ascii() -> None:
    text = json_text({"\x7f\x1b\u202e": "\x9b🙂"})
    assert all(" " <= character <= "~" or character == "\n" for character in text)


def test_json_for_people_shows_every_language_and_escapes_control_characters() -> None:
    assert json_for_people("Zoë 東京 🙂 \u202e \x9b \x7f \U000e0041", "utf-8") == (
        '"Zoë 東京 🙂 \\u202e \\u009b \\u007f \\udb40\\udc41"'
    )
    assert json_for_people("Zoë", "ascii") == '"Zo\\u00eb"'


def test_a_document_ends_with_a_line_end() -> None:
    stream = io.StringIO()
    print_json({"a": 1}, stream)
    assert stream.getvalue() == '{\n  "a": 1\n}\n'


def test_a_value_may_be_nested_as_deeply_as_the_cache_can_store_it() -> None:
    value: Any = 1
    for _ in range(511):
        value = [value]
    for text in (json_text(value), json_for_people({"a": value}, "utf-8")):
        assert text.count("[") == 511
