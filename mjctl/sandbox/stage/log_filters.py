"""Evaluates metric filters of CloudWatch Logs with JSON patterns, which turn lines of logs into values of metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Predicate = Callable[[Any], bool]

_SELECTOR = re.compile(r"^\$((?:\.[\w-]+|\[\d+\])+)$")
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")
_CONDITION = re.compile(
    r"^(?P<selector>\$[\w.\[\]-]+)\s*"
    r"(?:(?P<operator>!=|<=|>=|=|<|>)\s*(?P<operand>\"(?:[^\"\\]|\\.)*\"|[^\s\"]+)"
    r"|(?P<test>IS\s+NULL|IS\s+TRUE|IS\s+FALSE|NOT\s+EXISTS))$",
    re.IGNORECASE,
)
_MISSING = object()


class PatternError(ValueError):
    """Reports a filter pattern that the stage does not support."""


def predicate(pattern: str) -> Predicate:
    """Return a function that decides whether a parsed line of a log matches a JSON pattern.

    The stage supports comparisons that are joined by `&&` or by `||`, without parentheses.

    Raises:
        PatternError: the pattern has another form.
    """
    inner = pattern.strip()
    if not (inner.startswith("{") and inner.endswith("}")):
        raise PatternError(f"the stage supports no filter pattern without braces: {pattern}")
    inner = inner[1:-1].strip()
    joins = {"&&": all, "||": any}
    used = [join for join in joins if join in inner]
    if len(used) > 1 or "(" in inner:
        raise PatternError(f"the stage supports no mixed or nested conditions: {pattern}")
    parts = [part.strip() for part in (inner.split(used[0]) if used else [inner])]
    conditions = [_condition(part) for part in parts]
    join = joins[used[0]] if used else all
    return lambda document: join(condition(document) for condition in conditions)


def value_of(transformation: Mapping[str, Any], document: Any) -> float | None:
    """Return the value that a line of a log adds to the metric, or None if the line has no number for the metric."""
    source = str(transformation.get("metricValue", ""))
    value = _find(document, source) if source.startswith("$") else source
    try:
        return float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        return None


def parsed(line: str) -> Any:
    """Return a line of a log as a JSON document, or None for a line that is no JSON object."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _condition(text: str) -> Predicate:
    match = _CONDITION.match(text)
    if match is None:
        raise PatternError(f"the stage does not support the condition {text}")
    selector, operator, operand, test = match.group("selector", "operator", "operand", "test")
    if _SELECTOR.match(selector) is None:
        raise PatternError(f"the stage does not support the selector {selector}")
    if test is not None:
        word = re.sub(r"\s+", " ", test.upper())
        tests: dict[str, Predicate] = {
            "IS NULL": lambda value: value is None,
            "IS TRUE": lambda value: value is True,
            "IS FALSE": lambda value: value is False,
            "NOT EXISTS": lambda value: value is _MISSING,
        }
        return lambda document: tests[word](_find(document, selector))
    if operator in ("=", "!="):
        return lambda document: _equals(_find(document, selector), operand, wanted=operator == "=")
    bound = float(operand)
    compare: dict[str, Predicate] = {
        "<": lambda value: value < bound,
        "<=": lambda value: value <= bound,
        ">": lambda value: value > bound,
        ">=": lambda value: value >= bound,
    }
    return lambda document: _is_number(value := _find(document, selector)) and compare[operator](value)


def _equals(value: Any, operand: str, *, wanted: bool) -> bool:
    """Return whether a value value is equal, or with `wanted` False is not equal, to an operand of a pattern."""
    if value is _MISSING or value is None:
        return False
    if operand.startswith('"'):
        return isinstance(value, str) and fnmatch.fnmatchcase(value, json.loads(operand)) is wanted
    if _is_number(value):
        try:
            return (float(operand) == value) is wanted
        except ValueError:
            return False
    return isinstance(value, str) and fnmatch.fnmatchcase(value, operand) is wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _find(document: Any, selector: str) -> Any:
    for name, index in _STEP.findall(selector):
        if name and isinstance(document, dict) and name in document:
            document = document[name]
        elif index and isinstance(document, list) and int(index) < len(document):
            document = document[int(index)]
        else:
            return _MISSING
    return document
