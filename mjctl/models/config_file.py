"""Reading `configs/<name>.yaml`, with errors that name file, line and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError
from mjctl.models.workspace import Workspace
from mjctl.models.yaml_document import Document, read_document

_MAX_BYTES = 1_000_000
_MAX_PROBLEMS = 20
_SCHEMA_HINT = "`mjctl config schema` describes every field"
# A rule over several fields names the field in its message: `regions.us-east-1.zones: ...`.
_FIELD = re.compile(r"([\w./-]+): ")


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
    if "/" in name or not _is_file(path):
        known = ", ".join(environment_names(workspace)) or "none"
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise NotFoundError(
            f"no environment `{shown}`",
            where=str(workspace.configs_dir / f"{shown}.yaml"),
            hint=f"environments here: {known}; choose one with --env or MJCTL_ENV",
        )
    document = read_document(path, _read(path))
    if not isinstance(document.value, dict):
        raise ConfigError("an environment must be a YAML mapping", where=f"{path}:1", hint=_SCHEMA_HINT)
    if "name" in document.value:
        line = document.line_of(("name",))
        raise ConfigError("`name` is the file's own name and must not stand in it", where=f"{path}:{line}")
    try:
        return Environment.model_validate({"name": name, **document.value})
    except ValidationError as error:
        problems = error.errors()
        lines = [_describe(document, problem) for problem in problems[:_MAX_PROBLEMS]]
        if len(problems) > _MAX_PROBLEMS:
            lines.append(f"{len(problems) - _MAX_PROBLEMS} more problems")
        raise ConfigError("\n".join(lines), where=str(path), hint=_SCHEMA_HINT) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # The name is longer than a file's name can be.
        return False


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"the file is larger than {_MAX_BYTES} bytes", where=str(path))
        content = path.read_bytes()
    except PermissionError:
        raise PermissionDeniedError("the environment's file cannot be read", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"the environment's file cannot be read: {error.strerror}", where=str(path)) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"the file is not UTF-8 (byte {error.start})", where=f"{path}:{line}") from None


def _describe(document: Document, problem: Any) -> str:
    location = tuple(part for part in problem["loc"] if part != "[key]")
    message = problem["msg"].removeprefix("Value error, ")
    if not location and (named := _FIELD.match(message)):
        location, message = tuple(named[1].split(".")), message[named.end() :]
    place = f"{document.path}:{document.line_of(location)}"
    field = ".".join(str(part) for part in location)
    written = document.text_at(location)
    given = problem.get("input")
    if written is not None and problem["loc"] and isinstance(given, str | int | float | bool):
        message += f" (found `{written}`)"
        if problem["type"] == "string_type":
            message += f'; write it in quotes: "{written}"'
    elif isinstance(given, str | int | float | bool) and problem["loc"]:
        message += f" (found {given!r})"
    return f"{place}: {field}: {message}" if field else f"{place}: {message}"
