"""Reads `configs/<name>.yaml`. An error of `load_environment` names the file, the line and the field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, NotFoundError, PermissionDeniedError
from mjctl.models.section import PATTERN_RULES
from mjctl.models.workspace import Workspace
from mjctl.models.yaml_document import Document, read_document

_MAX_BYTES = 1_000_000
_MAX_PROBLEMS = 20
_SCHEMA_HINT = "`mjctl config schema` describes every field"
# The error message of a rule over several fields begins with a field's path, e.g. `regions.us-east-1.zones: ...`.
_FIELD = re.compile(r"([\w./-]+): ")
# Messages that are plainer than Pydantic's messages, by Pydantic's type of the error.
_MESSAGES = {
    "bool_parsing": "this field must be true or false",
    "dict_type": "this field must be a mapping (lines of `name: value`)",
    "extra_forbidden": "there is no such field; correct its name or remove it",
    "float_parsing": "this field must be a number",
    "greater_than_equal": "this field must be at least {ge:g}",
    "int_from_float": "this field must be a whole number",
    "int_parsing": "this field must be a whole number",
    "less_than_equal": "this field must be at most {le:g}",
    "literal_error": "this field must be {expected}",
    "missing": "this field is required",
    "model_type": "this section must be a mapping (lines of `field: value`)",
    "string_type": "this field must be a text",
    "too_long": "this field may have {max_length} entries at most",
    "too_short": "this field needs at least {min_length} entry",
    "tuple_type": "this field must be a list, e.g. [a, b]",
}


def environment_names(workspace: Workspace) -> list[str]:
    """List the names of the environments that have a file, in alphabetical order."""
    return sorted(path.stem for path in workspace.configs_dir.glob("*.yaml"))


def load_environment(workspace: Workspace, name: str) -> Environment:
    """Read and check the file of the environment `name`.

    Raises:
        NotFoundError: the environment has no file.
        PermissionDeniedError: this user may not read the file.
        ConfigError: the file is not YAML, or a field is invalid. The message has a line for each of the first 20
            problems, with file, line number and the field's path.
    """
    path = workspace.configs_dir / f"{name}.yaml"
    if "/" in name or not _is_file(path):
        known = ", ".join(environment_names(workspace)) or "none"
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise NotFoundError(
            f"no environment `{shown}`",
            where=str(workspace.configs_dir / f"{shown}.yaml"),
            hint=f"the environments of this project are: {known}; choose an environment with --env or MJCTL_ENV",
        )
    document = read_document(path, _read(path))
    if not isinstance(document.value, dict):
        raise ConfigError(
            "the file must be a YAML mapping (lines of `field: value`)", where=f"{path}:1", hint=_SCHEMA_HINT
        )
    if "name" in document.value:
        line = document.line_of(("name",))
        raise ConfigError(
            "the field `name` is not allowed: the name of the environment is the name of its file",
            where=f"{path}:{line}",
            hint="remove this line; rename the file to rename the environment",
        )
    try:
        return Environment.model_validate({"name": name, **document.value})
    except ValidationError as error:
        problems = [problem for problem in error.errors() if not _is_consequence(problem, error.errors())]
        lines = [_describe(document, problem) for problem in problems[:_MAX_PROBLEMS]]
        if len(problems) > _MAX_PROBLEMS:
            lines.append(f"{len(problems) - _MAX_PROBLEMS} more problems")
        raise ConfigError("\n".join(lines), where=str(path), hint=_SCHEMA_HINT) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # The operating system raises an error for a name that is longer than any file name may be.
        return False


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(
                f"the environment's file is larger than {_MAX_BYTES} bytes",
                where=str(path),
                hint="check that the path names an environment's file, and remove what is not configuration",
            )
        content = path.read_bytes()
    except PermissionError:
        raise PermissionDeniedError(
            "cannot read the environment's file: permission denied",
            where=str(path),
            hint="give this user the right to read the file (`chmod u+r`)",
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read the environment's file: {error.strerror}", where=str(path)) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"the file is not text in UTF-8: byte {error.start} is invalid",
            where=f"{path}:{line}",
            hint="save the file in the encoding UTF-8",
        ) from None


def _message(problem: Any) -> str:
    rule = PATTERN_RULES.get(problem.get("ctx", {}).get("pattern", ""))
    if rule is not None:
        return f"this field must be {rule}"
    message = _MESSAGES.get(problem["type"])
    if message is not None:
        return message.format(**problem.get("ctx", {}))
    return str(problem["msg"]).removeprefix("Value error, ")


def _is_consequence(problem: Any, problems: Sequence[Any]) -> bool:
    """Return whether Pydantic counts too few entries only because it does not count the invalid entries."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in problems
    )


def _describe(document: Document, problem: Any) -> str:
    location = tuple(part for part in problem["loc"] if part != "[key]")
    message = _message(problem)
    if not location and (named := _FIELD.match(message)):
        location, message = tuple(named[1].split(".")), message[named.end() :]
    place = f"{document.path}:{document.line_of(location)}"
    field = ".".join(str(part) for part in location)
    written = document.text_at(location)
    given = problem.get("input")
    if written is not None and problem["loc"] and isinstance(given, str | int | float | bool):
        message += f" (found `{written}`)"
        if problem["type"] == "string_type":
            message += f'; write the value in quotes: "{written}"'
    elif isinstance(given, str | int | float | bool) and problem["loc"]:
        message += f" (found {given!r})"
    return f"{place}: {field}: {message}" if field else f"{place}: {message}"
