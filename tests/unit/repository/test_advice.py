"""Every `mjctl ...` command that a text of the source names exists, accepts its options, and can be typed as it stands.

An operator types the command in the advice of an error. An advice whose command was renamed, or lacks a required
option, is worse than no advice.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import mjctl
from mjctl.cli.app import tree

ROOT = Path(mjctl.__file__).parent
# A word in capitals in the command of a message stands for a value: `mjctl servers restart SERVER`.
_PLACEHOLDER = re.compile(r"^[A-Z][A-Z_/]*(\.\.\.)?$")
_QUOTED = re.compile(r"`(mjctl [^`]+)`")
_SCOPE = "--env local --region us-east-1"
# Commands that require --region or --all-regions, because their code calls `wanted_regions`.
_NEED_REGIONS = frozenset(
    {
        *("plan", "deploy", "destroy", "rollback", "unlock", "servers scale"),
        *("cache flush", "cache invalidate", "queue purge", "queue redrive"),
    }
)


@dataclass(frozen=True)
class Advice:
    """Describes a command that a text of the source names.

    Attributes:
        place: file and line of the text.
        command: the command, with `X` for values.
        hint: whether the text is advice of an error, and not a description of the command.
    """

    place: str
    command: str
    hint: bool


def _text(node: ast.AST) -> str | None:
    """Return a string as the program prints it, with `X` for values, or None for an expression that is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or _value(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        left, right = _text(node.left), _text(node.right)
        return None if left is None or right is None else left + right
    return None


def _value(node: ast.AST) -> str:
    source = ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)
    if re.search(r"\b_?scope\b|_scope(_of)?\(|\bflags\b", source):
        return _SCOPE
    if source == "regions":
        return "--region X"
    if re.search(r"restart\(", source):
        return "{...}"
    return "X"


def _strings(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every whole string, and whether it is advice: the value of a keyword or a variable named `hint`."""
    inside: set[int] = set()
    hints: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "hint":
            hints |= {id(child) for child in ast.walk(node.value)}
        if isinstance(node, ast.Assign) and any("hint" in ast.unparse(target).lower() for target in node.targets):
            hints |= {id(child) for child in ast.walk(node.value)}
    for node in ast.walk(tree):
        if id(node) in inside or _text(node) is None:
            continue
        inside |= {id(child) for child in ast.walk(node)}
        yield node, id(node) in hints


@cache
def advice() -> tuple[Advice, ...]:
    """Return every command that a text of mjctl names."""
    named = []
    for path in sorted(ROOT.rglob("*.py")):
        for node, hint in _strings(ast.parse(path.read_text())):
            text = _text(node) or ""
            commands = _QUOTED.findall(text)
            if hint and text.startswith("mjctl "):
                commands.append(text)
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            # The docstring of a module may name several commands, such as `mjctl plan | deploy`.
            named += [Advice(place, command, hint) for command in commands if "|" not in command]
    return tuple(named)


def _words(command: str) -> list[str]:
    words = [word for word in shlex.split(command)[1:] if word not in ("...", "|")]
    return [word.removesuffix("...") if not word.startswith("-") else word for word in words]


def _resolve(words: list[str]) -> tuple[Any, str, list[str]]:
    """Return the command that `words` name, its full name, and the remaining words.

    Raises:
        LookupError: there is no such command.
    """
    # Typer contains its own copy of click, so `isinstance` with the classes of click does not work here.
    command: Any = tree()
    name: list[str] = []
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name.append(words[0])
        command, words = command.commands.get(words[0]), words[1:]
        if command is None:
            raise LookupError(f"no command `mjctl {' '.join(name)}`")
    return command, " ".join(name), words


def fault(command: str, *, complete: bool) -> str | None:
    """Return what is wrong with a command, or None if it can be typed.

    Args:
        command: the command line.
        complete: whether the command must have its required arguments and regions.
    """
    try:
        resolved, name, rest = _resolve(_words(command))
    except LookupError as error:
        return str(error)
    if hasattr(resolved, "commands"):
        return None if not rest or rest == ["--help"] else f"`mjctl {name}` is a group and takes no {rest[0]}"
    options = [parameter for parameter in resolved.params if parameter.param_type_name == "option"]
    takes_value = {word: not option.is_flag for option in options for word in (*option.opts, *option.secondary_opts)}
    arguments: list[str] = []
    given: set[str] = set()
    while rest:
        word, rest = rest[0], rest[1:]
        if not word.startswith("-"):
            arguments.append(word)
            continue
        option, _, value = word.partition("=")
        given.add(option)
        if takes_value.get(option) and not value and rest:
            rest = rest[1:]
    unknown = given - set(takes_value) - {"--help"}
    if unknown:
        return f"`mjctl {name}` has no option {', '.join(sorted(unknown))}"
    wanted = [parameter for parameter in resolved.params if parameter.param_type_name == "argument"]
    return _lacks(name, arguments, given, wanted, complete=complete)


def _lacks(name: str, arguments: list[str], given: set[str], wanted: list[Any], *, complete: bool) -> str | None:
    if len(arguments) > len(wanted) and not any(parameter.nargs == -1 for parameter in wanted):
        return f"`mjctl {name}` takes {len(wanted)} arguments, not {arguments}"
    required = [parameter.name for parameter in wanted if parameter.required]
    if complete and len(arguments) < len(required):
        return f"`mjctl {name}` lacks {required}"
    regions = {"--region", "-r", "--all-regions", "--plans"}
    if complete and name in _NEED_REGIONS and not given & regions:
        return f"`mjctl {name}` asks for --region or --all-regions"
    return None


def test_commands_are_found_in_the_source() -> None:
    commands = advice()
    assert len(commands) > 100
    assert sum(item.hint for item in commands) > 60
    # If a message takes the options of a command from a variable, the command that `advice` returns has these options.
    assert any(item.command == "mjctl servers list --env X --region X" or _SCOPE in item.command for item in commands)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("mjctl deploy --region us-east-1", None),
        ("mjctl deploy", "`mjctl deploy` asks for --region or --all-regions"),
        ("mjctl deploy --regions us-east-1", "`mjctl deploy` has no option --regions"),
        ("mjctl logs redis", "no command `mjctl logs`"),
        ("mjctl servers restart SERVER --region REGION", None),
        ("mjctl servers drain --region REGION", "`mjctl servers drain` lacks ['names']"),
        ("mjctl queue list redis", "`mjctl queue list` takes 0 arguments, not ['redis']"),
        ("mjctl backup", None),
    ],
)
def test_a_wrong_command_is_reported(command: str, wrong: str | None) -> None:
    assert fault(command, complete=True) == wrong


@pytest.mark.parametrize("path", sorted({item.place.split(":")[0] for item in advice()}))
def test_advice_names_commands_that_can_be_typed(path: str) -> None:
    wrong = [
        f"{item.place}: `{item.command}`: {reason}"
        for item in advice()
        if item.place.split(":")[0] == path and (reason := fault(item.command, complete=item.hint))
    ]
    assert not wrong, "\n".join(wrong)


_VAGUE = re.compile(r"\b(its|the [a-z' ]+'s|read|see|and its) logs?\b(?! (says|shows) why: )", re.IGNORECASE)


def test_advice_that_names_a_log_says_where_the_log_is() -> None:
    vague = []
    for path in sorted(ROOT.rglob("*.py")):
        for node, hint in _strings(ast.parse(path.read_text())):
            text = _text(node) or ""
            if hint and "log" in text and _VAGUE.search(text) and not re.search(r"log[s]?[^.;]*(: X|`|\{)", text):
                vague.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {text}")
    assert not vague, "\n".join(vague)


_AWS = re.compile(r"`(aws [a-z0-9-]+ [a-z][^`]+)`")
# Commands of the AWS CLI that are not operations of an API, with their options.
_OF_THE_CLI = {
    ("logs", "tail"): {"--region", "--since"},
    ("sso", "login"): set(),
}


def _aws_fault(command: str) -> str | None:
    """Return what is wrong with a command of the AWS CLI, or None. The models of botocore define the commands."""
    import botocore.session
    from botocore import xform_name

    _, service, operation, *rest = shlex.split(command)
    options = {word for word in rest if word.startswith("--")}
    if service == "configure":
        return None
    if (service, operation) in _OF_THE_CLI:
        unknown = options - _OF_THE_CLI[service, operation]
        return f"has no option {unknown}" if unknown else None
    model = botocore.session.Session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return f"`aws {service}` has no {operation}"
    shape = model.operation_model(names[operation]).input_shape
    members = shape.members if shape is not None else {}
    known = {f"--{xform_name(member, '-')}" for member in members} | {"--region"}
    required = {f"--{xform_name(member, '-')}" for member in (shape.required_members if shape is not None else ())}
    if options - known:
        return f"has no option {options - known}"
    return f"lacks {required - options}" if required - options else None


def _aws_commands() -> set[str]:
    texts = (
        _text(node) or "" for path in sorted(ROOT.rglob("*.py")) for node, _ in _strings(ast.parse(path.read_text()))
    )
    return {command for text in texts for command in _AWS.findall(text)}


def test_advice_names_commands_of_the_aws_cli_that_exist() -> None:
    commands = _aws_commands()
    assert len(commands) > 5
    wrong = {command: reason for command in commands if (reason := _aws_fault(command))}
    assert not wrong


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("aws kms enable-key --key-id X --region X", None),
        ("aws kms enable-key --region X", "lacks {'--key-id'}"),
        ("aws kms wake-key --key-id X", "`aws kms` has no wake-key"),
        ("aws logs tail X --regions X", "has no option {'--regions'}"),
    ],
)
def test_a_wrong_command_of_the_aws_cli_is_reported(command: str, wrong: str | None) -> None:
    assert _aws_fault(command) == wrong
