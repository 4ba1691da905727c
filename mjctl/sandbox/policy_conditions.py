"""Evaluates the conditions of IAM policies, with AWS's rules for missing keys, several values and wildcards.

AWS documents the rules at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Keys = Mapping[str, Sequence[str]]
"""The condition keys of a request, in lower case, with their values. Every key has at least one value."""

_ARN_PARTS = 6
# Matches a policy variable such as `${aws:username}` or `${key, 'default'}`, and an escaped character such as `${*}`.
_VARIABLE = re.compile(r"\$\{\s*([^},\s]+)\s*(?:,\s*'([^']*)'\s*)?\}")
_ESCAPED = {"*": "*", "?": "?", "$": "$"}


class PolicyError(ValueError):
    """Reports a policy that AWS refuses, e.g. a policy with an unknown condition operator."""


class UnresolvedVariableError(LookupError):
    """Reports that a request has no value for a policy variable, so a statement with the variable has no effect."""


def values_of(value: Any) -> tuple[str, ...]:
    """Return a JSON value or a list of JSON values as strings in the form of policies: `true`, `5`, `text`."""
    items = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items if item is not None)


def matches(pattern: str, value: str, keys: Keys | None = None, *, ignore_case: bool = False) -> bool:
    """Return whether `value` matches a pattern. In a pattern, `*` matches any text, and `?` any character.

    Args:
        pattern: The pattern in a policy.
        value: The value in a request.
        keys: The condition keys whose values replace policy variables in the pattern. With None, a variable is
            ordinary text.
        ignore_case: True to treat upper and lower case as equal.

    Raises:
        UnresolvedVariableError: the request has no value for a variable of the pattern.
    """
    if keys is None or "${" not in pattern:
        return _compiled(pattern, ignore_case).fullmatch(value) is not None
    expression = "".join(_expression(part, literal) for part, literal in _parts(pattern, keys))
    return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def matches_arn(pattern: str, arn: str, keys: Keys | None = None) -> bool:
    """Return whether an ARN matches a pattern. A wildcard in one of the first five fields matches no colon.

    If a pattern has too few fields, AWS adds fields with wildcards:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html

    Raises:
        UnresolvedVariableError: the request has no value for a variable of the pattern.
    """
    if pattern == "*":
        return True
    fields = _fields(pattern)
    values = arn.split(":", _ARN_PARTS - 1)
    if len(values) < _ARN_PARTS:
        return matches(pattern, arn, keys)
    fields += ["*"] * (_ARN_PARTS - len(fields))
    return all(matches(field, value, keys) for field, value in zip(fields, values, strict=True))


def conditions_met(conditions: Mapping[str, Any], keys: Keys, *, variables: bool = True) -> bool:
    """Return whether all conditions of a statement are met.

    Args:
        conditions: The element `Condition` of the statement.
        keys: The condition keys of the request.
        variables: False for a policy of version 2008-10-17, in which policy variables are ordinary text.

    Raises:
        PolicyError: an operator is unknown.
        UnresolvedVariableError: the request has no value for a variable of a condition.
    """
    return all(
        _condition_met(name, keys.get(key.lower(), ()), values_of(expected), keys if variables else None)
        for name, block in conditions.items()
        for key, expected in block.items()
    )


def _condition_met(name: str, actual: Sequence[str], expected: Sequence[str], keys: Keys | None) -> bool:
    quantifier, _, plain = name.rpartition(":")
    quantifier = quantifier.lower()
    plain = plain.lower()
    if plain == "null":
        return (not actual) == (expected[0].lower() == "true")
    optional = plain.endswith("ifexists")
    plain = plain.removesuffix("ifexists")
    negated = plain in _NEGATED
    compare = _OPERATORS.get(_NEGATED.get(plain, plain))
    if compare is None or quantifier not in ("", "forallvalues", "foranyvalue"):
        raise PolicyError(f"unknown condition operator {name}")

    def accepted(value: str) -> bool:
        return any(compare(value, text, keys) for text in expected) != negated

    if not actual:
        # For a key without values, an operator with ForAllValues is true, and an operator with ForAnyValue is false:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
        return optional or quantifier == "forallvalues" or (negated and quantifier != "foranyvalue")
    if quantifier == "forallvalues" or (negated and quantifier != "foranyvalue"):
        return all(accepted(value) for value in actual)
    return any(accepted(value) for value in actual)


def _text(test: Callable[[str, str], bool]) -> Callable[[str, str, Keys | None], bool]:
    def compare(actual: str, expected: str, keys: Keys | None) -> bool:
        return test(actual, "".join(part for part, _ in _parts(expected, keys)))

    return compare


def _number(test: Callable[[float, float], bool]) -> Callable[[str, str, Keys | None], bool]:
    def compare(actual: str, expected: str, _: Keys | None) -> bool:
        try:
            return test(float(actual), float(expected))
        except ValueError:
            return False

    return compare


def _date(test: Callable[[float, float], bool]) -> Callable[[str, str, Keys | None], bool]:
    def compare(actual: str, expected: str, _: Keys | None) -> bool:
        try:
            return test(_seconds(actual), _seconds(expected))
        except ValueError:
            return False

    return compare


def _seconds(text: str) -> float:
    """Return the seconds since 1970 of a date in a policy, which is in ISO 8601 or in seconds since 1970."""
    try:
        return float(text)
    except ValueError:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _in_network(actual: str, expected: str, _: Keys | None) -> bool:
    try:
        return ipaddress.ip_address(actual) in ipaddress.ip_network(expected, strict=False)
    except ValueError:
        return False


_OPERATORS: Mapping[str, Callable[[str, str, Keys | None], bool]] = {
    "stringequals": _text(operator.eq),
    "stringequalsignorecase": _text(lambda actual, expected: actual.casefold() == expected.casefold()),
    "stringlike": lambda actual, expected, keys: matches(expected, actual, keys),
    "numericequals": _number(operator.eq),
    "numericlessthan": _number(operator.lt),
    "numericlessthanequals": _number(operator.le),
    "numericgreaterthan": _number(operator.gt),
    "numericgreaterthanequals": _number(operator.ge),
    "dateequals": _date(operator.eq),
    "datelessthan": _date(operator.lt),
    "datelessthanequals": _date(operator.le),
    "dategreaterthan": _date(operator.gt),
    "dategreaterthanequals": _date(operator.ge),
    "bool": _text(lambda actual, expected: actual.lower() == expected.lower()),
    "binaryequals": _text(operator.eq),
    "ipaddress": _in_network,
    "arnequals": lambda actual, expected, keys: matches_arn(expected, actual, keys),
    "arnlike": lambda actual, expected, keys: matches_arn(expected, actual, keys),
}
_NEGATED: Mapping[str, str] = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
    "notipaddress": "ipaddress",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
}


def _parts(pattern: str, keys: Keys | None) -> list[tuple[str, bool]]:
    """Replace the variables in a pattern, and return its parts as pairs of a text and whether the text is literal.

    The value of a variable is literal, so that `*` in the value is no wildcard. With a wildcard, a user whose name is
    `*` would get access to the folders of other users.
    """
    if keys is None or "${" not in pattern:
        return [(pattern, False)]
    parts, position = [], 0
    for variable in _VARIABLE.finditer(pattern):
        parts += [(pattern[position : variable.start()], False), (_value(variable, keys), True)]
        position = variable.end()
    return [*parts, (pattern[position:], False)]


def _value(variable: re.Match[str], keys: Keys) -> str:
    name, default = variable[1], variable[2]
    if name in _ESCAPED:
        return _ESCAPED[name]
    values = keys.get(name.lower(), ())
    if len(values) == 1:
        return values[0]
    if default is None:
        # A variable stands for a key with exactly one value, as AWS documents.
        raise UnresolvedVariableError(name)
    return str(default)


def _fields(pattern: str) -> list[str]:
    """Split a pattern at its first five colons outside of policy variables."""
    fields, depth = [""], 0
    for index, character in enumerate(pattern):
        depth += (pattern[index : index + 2] == "${") - (character == "}" and depth > 0)
        if character == ":" and depth == 0 and len(fields) < _ARN_PARTS:
            fields.append("")
        else:
            fields[-1] += character
    return fields


def _expression(text: str, literal: bool) -> str:
    escaped = re.escape(text)
    return escaped if literal else escaped.replace(r"\*", ".*").replace(r"\?", ".")


@lru_cache(maxsize=4096)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    return re.compile(_expression(pattern, literal=False), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
