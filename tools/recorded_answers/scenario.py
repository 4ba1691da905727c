"""Loads scenarios. A scenario is the list of AWS calls that repeats a test of LocalStack.

A file of scenarios has these keys:

- `service`: the boto3 name of the service. For a call of a different service, write `service.operation`.
- `file`: the test file in LocalStack's repository. A scenario can name a different `file`.
- `shared`: values for YAML anchors. The loader ignores this key.
- `scenarios`: the list of scenarios, each with `test`, `calls`, and optionally `each`: a list of variables. The
  scenario runs once for each entry of `each`.

A call has these keys:

- `call`: the name of the operation.
- `with`: the parameters.
- `region`: the region, if it is not us-east-1.
- `save`: variables for later calls, with their places in the response as JMESPath.
- `record`: the name of the recorded answer with which the answer is compared.
- `of`: the place of the recorded part in the response, as JMESPath.
- `unordered`: true if the order of lists does not matter.
- `until`: repeat the call until the value at `path` is the value `is`.
- `after_seconds`: the time to wait before the call.

`$name` and `${name}` are variables. The loader sets these variables:

- `$account`: the id of the emulated AWS account.
- `$id` and `$unique`: random texts. All calls of a scenario use the same two texts.
- `$now` and `$minute_ago`: times in seconds.
- `$now_ms` and `$two_days_ago_ms`: times in milliseconds.

The YAML tags `!json`, `!repeat`, `!numbered`, `!without_end` and `!zip` compute values.
"""

from __future__ import annotations

import io
import json
import re
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "scenarios"

_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


class UnknownVariableError(Exception):
    """Reports a variable that no earlier call has saved."""


@dataclass(frozen=True)
class Call:
    """Describes a call of an operation of AWS. The docstring of this module explains the attributes."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    region: str = "us-east-1"
    save: Mapping[str, str] = field(default_factory=dict)
    record: str = ""
    path: str = ""
    unordered: bool = False
    until: Mapping[str, Any] | None = None
    after_seconds: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """Describes the calls that repeat a test of LocalStack.

    Attributes:
        service: The boto3 name of the service that the scenario measures.
        file: The test's file in LocalStack's repository.
        test: The test's name with its class and parameters.
        calls: The calls, in their order.
        variables: The values of the variables that are known before the first call.
    """

    service: str
    file: str
    test: str
    calls: tuple[Call, ...]
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class _Computed:
    kind: str
    argument: Any


class _Loader(yaml.SafeLoader):
    """Loads YAML with the tags of the scenarios."""


def _computed(loader: _Loader, kind: str, node: yaml.Node) -> _Computed:
    if isinstance(node, yaml.MappingNode):
        return _Computed(kind, loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return _Computed(kind, loader.construct_sequence(node, deep=True))
    return _Computed(kind, node.value)


_Loader.add_multi_constructor("!", _computed)


def load(folder: Path = FOLDER, *, service: str | None = None, account: str) -> list[Scenario]:
    """Return the scenarios of the files in `folder`, in the order of the files' names.

    Args:
        folder: The folder of the YAML files.
        service: Only load the scenarios of this service; None for all services.
        account: The id of the emulated AWS account.
    """
    scenarios = [scenario for file in sorted(folder.glob("*.yaml")) for scenario in _scenarios(file, account)]
    return [scenario for scenario in scenarios if service in (None, scenario.service)]


def resolve(value: Any, variables: Mapping[str, Any]) -> Any:
    """Return `value` with its variables and computed values filled in.

    Raises:
        UnknownVariableError: `value` names a variable that `variables` does not contain.
    """
    if isinstance(value, str):
        return _resolve_text(value, variables)
    if isinstance(value, Mapping):
        return {resolve(key, variables): resolve(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables) for item in value]
    if isinstance(value, _Computed):
        return _compute(value.kind, resolve(value.argument, variables))
    return value


def _resolve_text(text: str, variables: Mapping[str, Any]) -> Any:
    def replacement(match: re.Match[str]) -> Any:
        if match[1]:
            return "$"
        name = match[2] or match[3]
        if name not in variables:
            raise UnknownVariableError(name)
        return variables[name]

    whole = _VARIABLE.fullmatch(text)
    return replacement(whole) if whole else _VARIABLE.sub(lambda match: str(replacement(match)), text)


def _compute(kind: str, argument: Any) -> Any:
    match kind:
        case "json":
            return json.dumps(argument)
        case "repeat":
            return argument[0] * argument[1]
        case "numbered":
            return [_numbered(argument[1], number) for number in range(1, argument[0] + 1)]
        case "without_end":
            return argument[0][: -argument[1]]
        case "zip":
            return _zipped(argument)
    raise ValueError(f"unknown tag !{kind}")


def _zipped(files: Mapping[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in files.items():
            written.writestr(zipfile.ZipInfo(name), content)
    return archive.getvalue()


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("{}", str(number))
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    return value


def _scenarios(path: Path, account: str) -> Iterator[Scenario]:
    document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - _Loader is a SafeLoader
    for entry in document["scenarios"]:
        calls = tuple(_call(call, document["service"]) for call in entry["calls"])
        for case in entry.get("each", [{}]):
            identifier = uuid.uuid4().hex[:8]
            now = int(time.time())
            variables = {
                "account": account,
                "id": identifier,
                "unique": f"answers-{identifier}",
                "now": now,
                "now_ms": now * 1000,
                "minute_ago": now - 60,
                "two_days_ago_ms": (now - 2 * 86_400) * 1000,
                **resolve(case, {}),
            }
            yield Scenario(
                document["service"],
                entry.get("file", document["file"]),
                str(resolve(entry["test"], variables)),
                calls,
                variables,
            )


def _call(entry: Mapping[str, Any], default_service: str) -> Call:
    service, _, operation = entry["call"].rpartition(".")
    return Call(
        service=service or default_service,
        operation=operation,
        parameters=entry.get("with", {}),
        region=entry.get("region", "us-east-1"),
        save=entry.get("save", {}),
        record=entry.get("record", ""),
        path=entry.get("of", ""),
        unordered=entry.get("unordered", False),
        until=entry.get("until"),
        after_seconds=entry.get("after_seconds", 0.0),
    )
