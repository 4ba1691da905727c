"""Reads the changed attributes of each resource from Terraform's plan JSON, and masks every secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mjctl.models.deployment import AttributeChange, Change, Hidden

# https://developer.hashicorp.com/terraform/internals/json-format#change-representation
_ACTIONS = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("read",): "read",
    ("forget",): "forget",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    # ("create", "forget") means: Terraform creates a new object, and the old object continues to exist, but Terraform
    # no longer manages the old object.
    ("create", "forget"): "forget",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Maximum depth of a JSON text that mjctl compares part by part. mjctl compares a deeper JSON text as a whole.
_DEEPEST_JSON = 12


def planned_changes(shown: Mapping[str, Any]) -> list[Change]:
    """Return the changes of resources in Terraform's plan JSON. Resources without a change are left out.

    If the provider or a variable marks the old or the new value of an attribute as sensitive, old and new value are
    masked. A value that was sensitive before the change may still be a secret.
    """
    return [
        _change(resource, action)
        for resource in shown.get("resource_changes", ())
        if (action := _ACTIONS.get(tuple(resource["change"]["actions"]))) is not None
    ]


def with_details(changes: Sequence[Change], shown: Mapping[str, Any]) -> tuple[Change, ...]:
    """Add the attributes in the plan JSON `shown` to the changes that Terraform's stream reported.

    Only Terraform's stream reports moves and imports, and only the plan JSON has the changed attributes.
    """
    known = {(change.address, change.action): change for change in planned_changes(shown)}
    return tuple(
        replace(change, attributes=detailed.attributes, forced_by=detailed.forced_by)
        if (detailed := known.get((change.address, change.action)))
        else change
        for change in changes
    )


def adds_to_outputs(shown: Mapping[str, Any]) -> bool:
    """Return whether Terraform's plan JSON adds a part to an existing output, for example a key to an object.

    A part whose value is known only after the apply counts too:
    https://developer.hashicorp.com/terraform/internals/json-format#change-representation
    """
    return any(
        not _keys(change.get("after")) | _keys(change.get("after_unknown")) <= _keys(change["before"])
        for change in shown.get("output_changes", {}).values()
        if change.get("before") is not None
    )


def _keys(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths of all keys of nested objects, without the items of lists."""
    if not isinstance(value, dict):
        return set()
    return {inner for key, part in value.items() for inner in ({(*path, key)} | _keys(part, (*path, key)))}


def _change(resource: Mapping[str, Any], action: str) -> Change:
    return Change(
        resource["address"],
        action,
        resource.get("action_reason"),
        resource["type"],
        _attributes(resource["change"]),
        tuple(map(_path, resource["change"].get("replace_paths", ()))),
    )


@dataclass(frozen=True)
class _Secret:
    """Holds a secret value of an attribute. mjctl uses the value only to detect a change, and never shows the value."""

    value: Any = field(repr=False)


def _attributes(change: Mapping[str, Any]) -> tuple[AttributeChange, ...]:
    marks = (change.get("before_sensitive"), change.get("after_sensitive"))
    before = dict(_leaves(_masked(change.get("before"), marks)))
    after = dict(_leaves(_masked(change.get("after"), marks)))
    for path in _unknown(change.get("after_unknown")):
        # For an unknown new value, report one change of the whole value, and not the removal of each part of the old
        # value.
        parts = [known for known in before if known.startswith((f"{path}.", f"{path}["))]
        for part in parts:
            del before[part]
        if parts:
            before[path] = Hidden.SEVERAL
        after[path] = Hidden.UNKNOWN
    return tuple(
        changed
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
        for changed in _parts(path, before.get(path), after.get(path))
    )


def _parts(path: str, before: Any, after: Any) -> Iterator[AttributeChange]:
    """Split the change of an attribute with JSON text, e.g. of a policy, into the parts of the JSON that differ."""
    old, new = _decoded(before), _decoded(after)
    if old is None or new is None or type(old) is not type(new):
        yield AttributeChange(path, _hidden(before), _hidden(after))
        return
    olds, news = dict(_leaves(old, path)), dict(_leaves(new, path))
    differing = [part for part in dict.fromkeys([*olds, *news]) if olds.get(part) != news.get(part)]
    for part in differing:
        yield AttributeChange(part, olds.get(part), news.get(part))
    if not differing:
        # Old and new text contain equal JSON, and differ only in white space or in the order of keys.
        yield AttributeChange(path, before, after)


def _decoded(value: Any) -> Any:
    """Return the JSON object or list that a text contains; None for any other value, and for deeply nested JSON."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return document if _depth(document) <= _DEEPEST_JSON else None


def _depth(value: Any, limit: int = _DEEPEST_JSON + 1) -> int:
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(part, limit - 1) for part in inner), default=0)


def _hidden(value: Any) -> Any:
    return Hidden.SENSITIVE if isinstance(value, _Secret) else value


def _masked(value: Any, marks: Sequence[Any]) -> Any:
    for sensitive in marks:
        value = _masked_by(value, sensitive)
    return value


def _masked_by(value: Any, sensitive: Any) -> Any:
    """Mask the secrets in `value`. `sensitive` has the shape of `value`, with True at the place of each secret."""
    if value is None or isinstance(value, _Secret) or not _any_true(sensitive):
        return value
    if isinstance(value, dict) and isinstance(sensitive, dict):
        return {key: _masked_by(inner, sensitive.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(sensitive, list):
        marks = [*sensitive, *[None] * (len(value) - len(sensitive))]
        return [_masked_by(inner, mark) for inner, mark in zip(value, marks, strict=False)]
    # Mask the whole value if it is a secret. Also mask a value whose shape differs from the shape of `sensitive`,
    # because no part of such a value is known to be public.
    return _Secret(value)


def _any_true(sensitive: Any) -> bool:
    if isinstance(sensitive, dict):
        return any(map(_any_true, sensitive.values()))
    if isinstance(sensitive, list):
        return any(map(_any_true, sensitive))
    return sensitive is True


def _unknown(marks: Any) -> Iterator[str]:
    return (path for path, mark in _leaves(marks) if mark is True)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf of nested data, except None: `("a.b[0]", 1)` for `{"a": {"b": [1]}}`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, _joined(path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, _joined(path, number))
    elif value is not None:
        yield path, value


def _joined(path: str, key: object) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(str(key)):
        # Write an unusual key as JSON, which escapes line breaks and quotes, so that the key cannot hide the rest of
        # the path.
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else str(key)


def _path(steps: Sequence[object]) -> str:
    path = ""
    for step in steps:
        path = _joined(path, step)
    return path
