"""Planned changes in words: sign, reason and values, for the terminal and for Markdown alike."""

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
# The order in which changes are shown: those that end something come first.
_ORDER = ("replace", "delete", "forget", "update", "move", "import", "create", "read")
LOSSES = frozenset({"replace", "delete", "forget"})
_WHY = {
    "tainted": "an earlier attempt failed half-way",
    "requested": "requested",
    "replace_triggered_by": "what it depends on changes",
    "delete_because_no_resource_config": "no longer in the configuration",
    "delete_because_no_module": "its module is no longer in the configuration",
    "delete_because_count_index": "the count is smaller",
    "delete_because_each_key": "its key is no longer in the configuration",
    "delete_because_wrong_repetition": "it is counted in another way",
    "delete_because_no_move_target": "its new address does not exist",
    "read_because_config_unknown": "what it depends on is known after apply",
    "read_because_dependency_pending": "what it depends on changes",
}
_FORGOTTEN = "stays, no longer managed"
_REVISION = re.compile(r"(?:^|\.)revision$")
_INCARNATION = re.compile(r"^triggers_replace\.(?:incarnation\.)?(supervisor|certificates|epoch)$")
_INCARNATION_WORDS = {
    "supervisor": "its supervisor is started anew",
    "certificates": "its certificate is made anew",
    "epoch": "missing or damaged on this machine",
}
# How a local process is defined in Terraform; a person reads `port`, not where Terraform keeps it.
_DEFINITION = "triggers_replace.definition."
_SHORT_DIGEST = 7


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Sort changes by what they end: replacements, deletions and forgotten resources come first."""
    return sorted(changes, key=lambda change: _ORDER.index(change.action) if change.action in _ORDER else len(_ORDER))


def counts(changes: Iterable[Change]) -> str:
    """Count changes by action: `2 replace, 1 update, 40 create`."""
    found = Counter(change.action for change in changes)
    known = [action for action in _ORDER if action in found]
    return ", ".join(f"{found[action]} {action}" for action in [*known, *sorted(set(found) - set(known))])


def head(change: Change) -> str:
    """Return the sign and the whole address in one line."""
    return f"{SIGN.get(change.action, '?')} {printable(change.address)}"


def why(change: Change) -> str:
    """Say why a resource changes, in words for a person; "" if the values say it."""
    if change.action == "forget":
        return _FORGOTTEN
    code = new_code(change)
    if code is not None:
        return f"new code (gameserver {' → '.join(digest[:_SHORT_DIGEST] for digest in code)})"
    if change.reason in ("cannot_update", "replace_because_cannot_update"):
        found = [_INCARNATION.match(one.path) for one in change.attributes]
        words = [_INCARNATION_WORDS[part[1]] for part in found if part]
        if words:
            return ", ".join(dict.fromkeys(words))
        forced = [path for path in change.forced_by if path != "triggers_replace"]
        return f"cannot change in place: {', '.join(map(printable, forced))}" if forced else ""
    reason = (change.reason or "").removeprefix("replace_because_").removeprefix("replace_by_")
    return _WHY.get(reason, reason.replace("_", " "))


def new_code(change: Change) -> tuple[str, str] | None:
    """Return the old and the new digest of the game's code, if the resource changes because it runs that code."""
    for one in change.attributes:
        if _REVISION.search(one.path) and isinstance(one.before, str) and isinstance(one.after, str):
            return one.before, one.after
    return None


def shown_attributes(change: Change) -> list[tuple[str, AttributeChange]]:
    """Return the attributes that say something to a person, with the name to show.

    Left out are values that every new resource gets (its id), and those that only follow from the reason that `why`
    names, such as the folder of the new code.
    """
    code = new_code(change)
    return [
        (printable(one.path.removeprefix(_DEFINITION)), one)
        for one in change.attributes
        if not (change.action in ("create", "replace") and one.after is Hidden.UNKNOWN)
        and not _INCARNATION.match(one.path)
        and not (code is not None and _follows(one, *code))
        and change.action not in ("delete", "forget")
    ]


def _follows(one: AttributeChange, before: str, after: str) -> bool:
    texts = isinstance(one.before, str) and isinstance(one.after, str)
    return texts and one.before.replace(before, after) == one.after


def values(one: AttributeChange, room: int) -> str:
    """Return `old -> new`, or only the new value of a new attribute, in about `room` characters."""
    if one.before is None:
        return _cut(_text(one.after), room)
    half = max(8, (room - 4) // 2)
    before, after = _text(one.before), _text(one.after) if one.after is not None else "(none)"
    if len(before) > half or len(after) > half:
        before, after = _from_difference(before, after, half)
    return f"{_cut(before, half)} -> {_cut(after, half)}"


def _text(value: Any) -> str:
    """A value as JSON, so that a text always stands in quotes and a mask never does."""
    return str(value) if isinstance(value, Hidden) else printable(json.dumps(value, ensure_ascii=False))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(1, room - 1)]}…"


def _from_difference(before: str, after: str, room: int) -> tuple[str, str]:
    """Leave out a long common beginning: two texts cut at the same place would read alike."""
    common = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    if common < room // 2:
        return before, after
    start = common - room // 4
    return f"…{before[start:]}", f"…{after[start:]}"


_MODULE = re.compile(r'module\.[\w-]+(?:\[(?:"(?:[^"\\]|\\.)*"|\d+)\])?\.')
_KEY = re.compile(r'\["((?:[^"\\]|\\.)*)"\]')


def module_of(address: str) -> str:
    """`module.a["x.y"].module.b.aws_s3_bucket.c` lies in `module.a["x.y"].module.b`; "" is the stack itself."""
    end = 0
    while found := _MODULE.match(address, end):
        end = found.end()
    return address[: max(0, end - 1)]


def by_type(changes: Sequence[Change]) -> str:
    """Count resources by type: `9 aws_subnet, 6 aws_route`."""
    return ", ".join(f"{count} {name}" for name, count in Counter(one.resource_type for one in changes).most_common())


def by_module(changes: Iterable[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Group changes by module, keeping their order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(module_of(change.address), []).append(change)
    yield from groups.items()
