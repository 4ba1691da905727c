"""Compares an answer of the emulated AWS with the recorded answer of AWS.

LocalStack's recordings contain placeholders in place of random values. In a test, every `<key-id:1>` stands for one
value, and every `<key-id:2>` stands for a second, different value. `<region>` and words like `datetime` stand for any
value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.recorded_answers.playing import Moment

RECORDED_ACCOUNT = "111111111111"

# The kinds of differences, and their meaning.
KINDS = {
    "missing": "The answer does not have a key of the recording.",
    "extra": "The answer has a key that the recording does not have.",
    "value": "The answer has another value.",
    "message": "The answer has another text of an error.",
    "refused": "The answer is an error, but AWS answers.",
    "accepted": "The answer is no error, but AWS reports an error.",
    "unreached": "There is no answer, because an earlier call failed.",
}

_PLACEHOLDER = re.compile(r"<([A-Za-z][^<>\s]*)>")
_NUMBERED = re.compile(r":\d+$|-\d+idx$")
_ANY_VALUE = frozenset({"date", "datetime", "timestamp"})


@dataclass(frozen=True)
class Difference:
    """Describes a difference between an answer and its recording.

    Attributes:
        kind: A word of `KINDS`.
        path: The place in the answer, e.g. `$.KeyMetadata.KeyId`.
        detail: The difference in words, without text from the recording.
    """

    kind: str
    path: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


@dataclass
class Bindings:
    """Maps each placeholder of a test to its value in the answers.

    Attributes:
        account: The id of the emulated AWS account, which stands for the account of the recordings.
        values: The values by the placeholders.
    """

    account: str
    values: dict[str, str] = field(default_factory=dict)

    def bind(self, name: str, value: str) -> bool:
        """Map a placeholder to a value. Return False if `value` contradicts an earlier mapping.

        A placeholder has only one value, and placeholders that differ only in their number, like `<id:1>` and `<id:2>`,
        have different values. A placeholder without a number stands for any value.
        """
        if not _NUMBERED.search(name):
            return bool(value)
        if name in self.values:
            return self.values[name] == value
        family = _NUMBERED.sub("", name)
        if any(value == other and _NUMBERED.sub("", key) == family for key, other in self.values.items()):
            return False
        self.values[name] = value
        return True

    def copy(self) -> Bindings:
        """Return a copy. Changes of the copy do not change this object."""
        return Bindings(self.account, dict(self.values))


def compare(recorded: Any, answer: Any, bindings: Bindings, *, unordered: bool = False) -> list[Difference]:
    """Return the differences between an answer and its recording.

    Args:
        recorded: The recording.
        answer: The answer, in the form of a recording.
        bindings: The values of the test's placeholders. The function adds values.
        unordered: True if the order of the lists' items does not matter.
    """
    if not unordered:
        _bind_whole_values(recorded, answer, bindings)
    return _compare(recorded, answer, bindings, "$", unordered)


def _bind_whole_values(recorded: Any, answer: Any, bindings: Bindings) -> None:
    """Bind each placeholder that is a whole value. Then a value like `<name:1><suffix:1>` has only one solution."""
    if isinstance(recorded, Mapping) and isinstance(answer, Mapping):
        for key in recorded.keys() & answer.keys():
            _bind_whole_values(recorded[key], answer[key], bindings)
    elif isinstance(recorded, list) and isinstance(answer, list):
        for recorded_item, item in zip(recorded, answer, strict=False):
            _bind_whole_values(recorded_item, item, bindings)
    elif isinstance(recorded, str) and isinstance(answer, str | int | float):
        placeholder = _PLACEHOLDER.fullmatch(recorded)
        if placeholder:
            bindings.bind(placeholder[1], str(answer))


def _compare(recorded: Any, answer: Any, bindings: Bindings, path: str, unordered: bool) -> list[Difference]:
    if isinstance(recorded, dict | list) and isinstance(answer, str):
        # In a recording, a JSON document, e.g. a policy, is already parsed.
        try:
            answer = json.loads(answer)
        except ValueError:
            return [Difference("value", path, "the answer is no JSON document")]
    if isinstance(recorded, dict) and isinstance(answer, dict):
        return _compare_objects(recorded, answer, bindings, path, unordered)
    if isinstance(recorded, list) and isinstance(answer, list):
        return _compare_lists(recorded, answer, bindings, path, unordered)
    if isinstance(recorded, str) and isinstance(answer, Moment):
        return []
    if isinstance(recorded, str) and answer is not None and not isinstance(answer, dict | list):
        same = _same_text(recorded, str(answer), type(answer) is str, bindings, path)
    else:
        same = recorded == answer and isinstance(recorded, bool) == isinstance(answer, bool)
    kind = "message" if path.lower() in ("$.error.message", "$.message") else "value"
    return [] if same else [Difference(kind, path, f"the answer has {_short(answer)}")]


def _compare_objects(
    recorded: dict[str, Any], answer: dict[str, Any], bindings: Bindings, path: str, unordered: bool
) -> list[Difference]:
    names = {key: _name_in_answer(key, answer, bindings) for key in recorded}
    differences = []
    for key, value in recorded.items():
        place = f"{path}.{key}"
        if names[key] is None:
            differences.append(Difference("missing", place))
        else:
            differences += _compare(value, answer[str(names[key])], bindings, place, unordered)
    extra = sorted(set(answer) - {name for name in names.values() if name})
    return differences + [
        Difference("extra", f"{path}.{key}", f"the answer has {_short(answer[key])}") for key in extra
    ]


def _name_in_answer(key: str, answer: dict[str, Any], bindings: Bindings) -> str | None:
    if key in answer or not _PLACEHOLDER.search(key):
        return key if key in answer else None
    return next((name for name in answer if _same_text(key, name, True, bindings, "")), None)


def _compare_lists(
    recorded: list[Any], answer: list[Any], bindings: Bindings, path: str, unordered: bool
) -> list[Difference]:
    if len(recorded) != len(answer):
        return [Difference("value", path, f"the answer has {len(answer)} items, and AWS has {len(recorded)}")]
    differences = []
    left = list(answer)
    for number, item in enumerate(recorded):
        index = _nearest(item, left, bindings, path) if unordered else 0
        differences += _compare(item, left.pop(index), bindings, f"{path}[{number}]", unordered)
    return differences


def _nearest(item: Any, candidates: list[Any], bindings: Bindings, path: str) -> int:
    counts = [len(_compare(item, candidate, bindings.copy(), path, True)) for candidate in candidates]
    return counts.index(min(counts))


def _same_text(recorded: str, answer: str, is_text: bool, bindings: Bindings, path: str) -> bool:
    recorded = recorded.replace(RECORDED_ACCOUNT, bindings.account)
    if recorded in _ANY_VALUE or recorded == _hyphenated(path.rsplit(".", 1)[-1]):
        return bool(answer)
    names = _PLACEHOLDER.findall(recorded)
    if not names:
        return is_text and recorded == answer
    pattern = ""
    for part in re.split(r"(<[A-Za-z][^<>\s]*>)", recorded):
        placeholder = _PLACEHOLDER.fullmatch(part)
        if not placeholder:
            pattern += re.escape(part)
        elif placeholder[1] in bindings.values:
            pattern += f"({re.escape(bindings.values[placeholder[1]])})"
        else:
            pattern += "(.+?)"
    match = re.fullmatch(pattern, answer, re.DOTALL)
    return match is not None and all(
        bindings.bind(name, value) for name, value in zip(names, match.groups(), strict=True)
    )


def _hyphenated(name: str) -> str:
    """Return the word that a recording has instead of a random value: `import-token` for the name `ImportToken`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
