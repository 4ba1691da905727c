"""Tests that metric filters select lines of logs and find the values of metrics in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mjctl.sandbox.stage.log_filters import PatternError, parsed, predicate, value_of

LINE = {"event": "server_status", "players": 12, "ok": True, "nothing": None, "tags": ["a"], "inner": {"n": 1.5}}
SCALING = Path(__file__).parents[5] / "terraform" / "modules" / "game_service" / "scaling.tf"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ('{ $.event = "server_status" && $.players >= 0 }', True),
        ('{ $.event = "server_status" && $.players > 12 }', False),
        ('{ $.event = "other" || $.players < 13 }', True),
        ('{ $.event = "server_*" }', True),
        ("{ $.event = server_status }", True),
        ('{ $.event != "server_status" }', False),
        ("{ $.players = 12 }", True),
        ("{ $.players != 12 }", False),
        ("{ $.players <= 11.5 }", False),
        ("{ $.inner.n = 1.5 }", True),
        ('{ $.tags[0] = "a" }', True),
        ("{ $.nothing IS NULL }", True),
        ("{ $.ok IS TRUE }", True),
        ("{ $.ok IS FALSE }", False),
        ("{ $.missing NOT EXISTS }", True),
        ("{ $.missing = 1 }", False),
        ("{ $.missing >= 0 }", False),
        ("{ $.event >= 0 }", False),
        ("{ $.ok >= 0 }", False),
    ],
)
def test_a_pattern_selects_lines(pattern: str, matches: bool) -> None:
    assert predicate(pattern)(LINE) is matches


@pytest.mark.parametrize(
    "pattern", ["ERROR", "[ip, user]", "{ ($.a = 1) }", "{ $.a = 1 && $.b = 2 || $.c = 3 }", "{ $.a ~ 1 }", "{ a = 1 }"]
)
def test_a_pattern_of_another_form_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        predicate(pattern)


@pytest.mark.parametrize(
    ("source", "value"), [("$.players", 12.0), ("1", 1.0), ("$.event", None), ("$.missing", None), ("$.ok", None)]
)
def test_a_line_adds_a_number_to_the_metric(source: str, value: float | None) -> None:
    assert value_of({"metricValue": source}, LINE) == value


@pytest.mark.parametrize(
    ("line", "document"), [(json.dumps(LINE), LINE), ("text", None), ('{"a"', None), ("[1]", None)]
)
def test_only_json_objects_are_parsed(line: str, document: Any) -> None:
    assert parsed(line) == document


def test_the_metric_of_the_fleet_comes_from_the_line_of_the_game_server() -> None:
    text = SCALING.read_text(encoding="utf-8")
    pattern = re.search(r'pattern\s*= "(.*)"', text)
    assert pattern is not None
    matches = predicate(pattern[1].replace('\\"', '"'))
    assert matches({"event": "server_status", "players": 0, "matches": 0, "level": "info"})
    assert not matches({"event": "match_ended", "players": 2})
