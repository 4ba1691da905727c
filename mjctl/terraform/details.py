"""What a saved plan would change, attribute by attribute, with every secret masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MASK = "(sensitive)"
UNKNOWN = "(known after apply)"
SEVERAL = "(several values)"
_ACTIONS = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("read",): "read",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}


@dataclass(frozen=True)
class AttributeChange:
    """`path` is `a.b[0]`; `before` and `after` are JSON values, None where there is none, or a mask."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ResourceDetail:
    """`action`: create, update, replace, delete or read, as in `Change`; `reason` is Terraform's word for why."""

    address: str
    action: str
    reason: str | None
    attributes: tuple[AttributeChange, ...]


def resource_details(shown: Mapping[str, Any]) -> list[ResourceDetail]:
    """The changes in Terraform's plan JSON; what needs no change is left out.

    A value is masked on both sides where the provider or a variable marks either as sensitive: what was a secret
    yesterday may well be one today.
    """
    return [
        _detail(found, action)
        for found in shown.get("resource_changes", ())
        if (action := _ACTIONS.get(tuple(found["change"]["actions"]))) is not None
    ]


def _detail(found: Mapping[str, Any], action: str) -> ResourceDetail:
    change = found["change"]
    marks = (change.get("before_sensitive"), change.get("after_sensitive"))
    before = dict(_leaves(_masked(change.get("before"), *marks)))
    after = dict(_leaves(_masked(change.get("after"), *marks)))
    for path in _unknown(change.get("after_unknown")):
        # Of a whole that is not known yet no part is: its present parts are one change, not as many removals.
        parts = [one for one in before if one.startswith((f"{path}.", f"{path}["))]
        for part in parts:
            del before[part]
        if parts:
            before[path] = SEVERAL
        after[path] = UNKNOWN
    attributes = [
        AttributeChange(path, before.get(path), after.get(path))
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path) or MASK in (before.get(path), after.get(path))
    ]
    return ResourceDetail(found["address"], action, found.get("action_reason"), tuple(attributes))


def _masked(value: Any, *marks: Any) -> Any:
    for sensitive in marks:
        value = _masked_by(value, sensitive)
    return value


def _masked_by(value: Any, sensitive: Any) -> Any:
    """`sensitive` has the shape of `value`, with True in place of what is secret."""
    if sensitive is True:
        return None if value is None else MASK
    if isinstance(value, dict) and isinstance(sensitive, dict):
        return {key: _masked_by(inner, sensitive.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(sensitive, list):
        marks = [*sensitive, *[None] * (len(value) - len(sensitive))]
        return [_masked_by(inner, mark) for inner, mark in zip(value, marks, strict=False)]
    return value


def _unknown(marks: Any) -> Iterator[str]:
    return (path for path, mark in _leaves(marks) if mark is True)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": [1]}}` gives `("a.b[0]", 1)`; None gives nothing."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    elif value is not None:
        yield path, value
