"""Planned changes as text: sign, reason and values, for the terminal and for Markdown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mjctl.cli.output.printable import printable
from mjctl.models.deployment import AttributeChange, Change, Hidden

SIGN = {
    "create": "+",
    "update": "~",
    "replace": "±",
    "delete": "-",
    "forget": ".",
    "read": "<",
    "move": ">",
    "import": "&",
}
# The order in which changes are shown: replaced, deleted and forgotten resources come first.
_ORDER = ("replace", "delete", "forget", "update", "move", "import", "create", "read")
LOSSES = frozenset({"replace", "delete", "forget"})
_WHY = {
    "tainted": "an earlier attempt to create it failed",
    "requested": "requested",
    "replace_triggered_by": "a resource that it depends on changes",
    "delete_because_no_resource_config": "no longer in the configuration",
    "delete_because_no_module": "its module is no longer in the configuration",
    "delete_because_count_index": "`count` is smaller",
    "delete_because_each_key": "its key of `for_each` is no longer in the configuration",
    "delete_because_wrong_repetition": "`count` or `for_each` was added or removed",
    "delete_because_no_move_target": "its new address does not exist",
    "read_because_config_unknown": "a value that it depends on is known after apply",
    "read_because_dependency_pending": "a resource that it depends on changes",
}
_FORGOTTEN = "continues to exist, but Terraform no longer manages it"
_REVISION = re.compile(r"(?:^|\.)revision$")
_INCARNATION = re.compile(r"^triggers_replace\.(?:incarnation\.)?(supervisor|certificates|epoch)$")
_INCARNATION_WORDS = {
    "supervisor": "its supervisor is restarted",
    "certificates": "its certificate is renewed",
    "epoch": "missing or damaged on this machine",
}
# Path of the attributes that define a local process. The output leaves out the path: the attribute
# `triggers_replace.definition.port` is shown as `port`.
_DEFINITION = "triggers_replace.definition."
_SHORT_DIGEST = 7


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Sort changes by action: replacements, deletions and forgotten resources come first."""
    return sorted(changes, key=lambda change: _ORDER.index(change.action) if change.action in _ORDER else len(_ORDER))


def counts(changes: Iterable[Change]) -> str:
    """Count changes by action: `2 replace, 1 update, 40 create`."""
    numbers = Counter(change.action for change in changes)
    known = [action for action in _ORDER if action in numbers]
    return ", ".join(f"{numbers[action]} {action}" for action in [*known, *sorted(set(numbers) - set(known))])


def head(change: Change) -> str:
    """Return the sign of a change and the whole address of its resource in one line."""
    return f"{SIGN.get(change.action, '?')} {printable(change.address)}"


def why(change: Change) -> str:
    """Return why a resource changes, in words for an operator, or "" if the changed values show the reason."""
    if change.action == "forget":
        return _FORGOTTEN
    code = new_code(change)
    if code is not None:
        return f"new code (gameserver {' → '.join(digest[:_SHORT_DIGEST] for digest in code)})"
    if change.reason in ("cannot_update", "replace_because_cannot_update"):
        matches = [_INCARNATION.match(attribute.path) for attribute in change.attributes]
        words = [_INCARNATION_WORDS[match[1]] for match in matches if match]
        if words:
            return ", ".join(dict.fromkeys(words))
        forced = [path for path in change.forced_by if path != "triggers_replace"]
        return f"cannot change in place: {', '.join(map(printable, forced))}" if forced else ""
    reason = (change.reason or "").removeprefix("replace_because_").removeprefix("replace_by_")
    return _WHY.get(reason, reason.replace("_", " "))


def new_code(change: Change) -> tuple[str, str] | None:
    """Return the old and the new digest of the game's code, or None if the change has no new code."""
    for attribute in change.attributes:
        before, after = attribute.before, attribute.after
        if _REVISION.search(attribute.path) and isinstance(before, str) and isinstance(after, str):
            return before, after
    return None


def shown_attributes(change: Change) -> list[tuple[str, AttributeChange]]:
    """Return the changed attributes that are shown to an operator, each with its shown name.

    `shown_attributes` leaves out values of a new resource that are known only after the apply, such as its id.
    `shown_attributes` also leaves out values that follow from the reason that `why` returns, such as the folder of the
    new code.
    """
    code = new_code(change)
    return [
        (printable(attribute.path.removeprefix(_DEFINITION)), attribute)
        for attribute in change.attributes
        if not (change.action in ("create", "replace") and attribute.after is Hidden.UNKNOWN)
        and not _INCARNATION.match(attribute.path)
        and not (code is not None and _follows(attribute, *code))
        and change.action not in ("delete", "forget")
    ]


def _follows(attribute: AttributeChange, before: str, after: str) -> bool:
    texts = isinstance(attribute.before, str) and isinstance(attribute.after, str)
    return texts and attribute.before.replace(before, after) == attribute.after


def values(attribute: AttributeChange, room: int) -> str:
    """Return `old -> new`, or only the new value of a new attribute, in about `room` characters."""
    if attribute.before is None:
        return _cut(_text(attribute.after), room)
    half = max(8, (room - 4) // 2)
    before = _text(attribute.before)
    after = _text(attribute.after) if attribute.after is not None else "(none)"
    if len(before) > half or len(after) > half:
        before, after = _from_difference(before, after, half)
    return f"{_cut(before, half)} -> {_cut(after, half)}"


def _text(value: Any) -> str:
    """Return a value as JSON. Strings have quotes, so that the string "(sensitive)" differs from a hidden value."""
    return str(value) if isinstance(value, Hidden) else printable(json.dumps(value, ensure_ascii=False))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(1, room - 1)]}…"


def _from_difference(before: str, after: str, room: int) -> tuple[str, str]:
    """Leave out a long common beginning of two texts, because two texts that are cut at their ends would look equal."""
    common = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    if common < room // 2:
        return before, after
    start = common - room // 4
    return f"…{before[start:]}", f"…{after[start:]}"


_MODULE = re.compile(r'module\.[\w-]+(?:\[(?:"(?:[^"\\]|\\.)*"|\d+)\])?\.')
_KEY = re.compile(r'\["((?:[^"\\]|\\.)*)"\]')


def module_of(address: str) -> str:
    """Return the module part of a resource's address, or "" for a resource of the stack itself.

    `module.a["x.y"].module.b.aws_s3_bucket.c` gives `module.a["x.y"].module.b`.
    """
    end = 0
    while match := _MODULE.match(address, end):
        end = match.end()
    return address[: max(0, end - 1)]


def by_type(changes: Sequence[Change]) -> str:
    """Count resources by type: `9 aws_subnet, 6 aws_route`."""
    types = Counter(change.resource_type for change in changes)
    return ", ".join(f"{count} {name}" for name, count in types.most_common())


def by_module(changes: Iterable[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Yield each module with its changes, in the order of the changes."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(module_of(change.address), []).append(change)
    yield from groups.items()
