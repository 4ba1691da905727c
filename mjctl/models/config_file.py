"""Reading `configs/<name>.yaml`, with errors that name file, line and field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError
from mjctl.models.workspace import Workspace

_MAX_BYTES = 1_000_000


def environment_names(workspace: Workspace) -> list[str]:
    """Names of the environments that have a file, in alphabetical order."""
    return sorted(path.stem for path in workspace.configs_dir.glob("*.yaml"))


def load_environment(workspace: Workspace, name: str) -> Environment:
    """Read and check one environment.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it is not YAML, or a field does not fit; the message has file:line and the field's path.
    """
    path = workspace.configs_dir / f"{name}.yaml"
    if "/" in name or not path.is_file():
        known = ", ".join(environment_names(workspace)) or "none"
        raise NotFoundError(
            f"no environment `{name}`",
            where=str(path),
            hint=f"environments here: {known}; choose one with --env or MJCTL_ENV",
        )
    text = _read(path)
    root = _compose(path, text)
    document = yaml.safe_load(text)
    if not isinstance(document, dict):
        raise ConfigError("an environment must be a YAML mapping", where=f"{path}:1", hint=_SCHEMA_HINT)
    if "name" in document:
        line = _line_of(root, ("name",))
        raise ConfigError("`name` is the file's own name and must not stand in it", where=f"{path}:{line}")
    try:
        return Environment.model_validate({"name": name, **document})
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_describe(path, root, problem) for problem in error.errors()),
            where=str(path),
            hint=_SCHEMA_HINT,
        ) from None


_SCHEMA_HINT = "`mjctl config schema` describes every field"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"the file is larger than {_MAX_BYTES} bytes", where=str(path))
        return path.read_text(encoding="utf-8")
    except PermissionError:
        raise PermissionDeniedError("the environment's file cannot be read", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8 (byte {error.start})", where=str(path)) from None


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML: {error.problem or error}", where=place) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", where=str(path)) from None
    _refuse_duplicates(path, root)
    return root


def _refuse_duplicates(path: Path, node: yaml.Node | None) -> None:
    """PyYAML keeps the last of two equal keys and says nothing: a region given twice would lose its first form."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"`{key.value}` stands twice (first on line {seen[key.value]})", where=f"{path}:{line}"
                )
            seen[key.value] = line
            _refuse_duplicates(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(path, value)


def _describe(path: Path, root: yaml.Node | None, problem: Any) -> str:
    location = tuple(part for part in problem["loc"] if part != "[key]")
    field = ".".join(str(part) for part in location)
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    shown = f" (found {given!r})" if isinstance(given, str | int | float | bool) else ""
    place = f"{path}:{_line_of(root, location)}"
    return f"{place}: {field}: {message}{shown}" if field else f"{place}: {message}"


def _line_of(node: yaml.Node | None, location: Sequence[Any]) -> int:
    """The line of the deepest part of `location` that stands in the file."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in location:
        step = _step_into(node, part)
        if step is None:
            break
        node, line = step
    return line


def _step_into(node: yaml.Node | None, part: Any) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value, value.start_mark.line + 1
    return None
