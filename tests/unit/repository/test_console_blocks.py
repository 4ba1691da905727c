"""Every command in a console block of a Markdown page can be typed as it stands.

tests/integration/stack/test_examples.py executes the blocks that need only a local region. This module parses the
commands of all blocks. `NOT_EXECUTED` says for each page without executed blocks why its commands are only parsed.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from mjctl.models.workspace import Workspace
from tests.unit.repository.test_advice import fault as advice_fault
from tests.unit.repository.test_workflows import parse
from tools.checkout import tracked_files

PROJECT = Workspace.discover(Path(__file__)).project_dir
EXECUTED = ("README.md",)
NOT_EXECUTED = {
    "CONTRIBUTING.md": "its make targets run the tests themselves",
    "RELEASING.md": "its commands publish a version",
    "docs/aws.md": "its commands need an AWS account",
    "docs/cli.md": "its commands are the examples of help texts; test_every_command.py runs every command",
    "docs/local.md": "its commands need the AWS CLI, jq and redis-cli",
    "docs/packaging.md": "its commands need an AWS account and Docker",
    "docs/runbooks.md": "its commands need an AWS account",
    "docs/well-architected.md": "its commands plan every production stack; the tests with the marker `infra` do that",
    "docs/writing.md": "its command prints sentences for a reader",
    "terraform/": "its commands need an AWS account; tests/terraform applies the stacks to an emulated AWS",
}
# Programs of other projects that the console blocks may call, in commands that look at a region or a release.
_OTHER_PROGRAMS = frozenset({"aws", "redis-cli", "git", "terraform", "docker", "jq", "curl", "cd", "cat"})
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    """Return the console blocks of a page."""
    return _BLOCK.findall((PROJECT / page).read_text(encoding="utf-8"))


def commands(block: str) -> list[list[str]]:
    """Return the words of each command of a block, without comments and without leading assignments."""
    lines = [line[2:] for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    split = [shlex.split(re.sub(r"\$\([^)]*\)", "VALUE", line), comments=True) for line in lines]
    return [words for words in ([*_after_assignments(words)] for words in split) if words]


def _after_assignments(words: list[str]) -> list[str]:
    while words and (words[0] == "export" or re.match(r"[A-Z_]+=", words[0])):
        words = words[1:]
    return words


def fault(words: list[str]) -> str | None:
    """Return what is wrong with a command in a console block, or None."""
    program, *arguments = words
    name = program.removeprefix(".venv/bin/")
    if name == "mjctl":
        end = next((index for index, word in enumerate(arguments) if word in (">", "|", "&&")), len(arguments))
        parse(shlex.join([name, *arguments[:end]]))
        return None
    if name == "make":
        targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        missing = [word for word in arguments if "=" not in word and word not in targets]
        return f"no target {missing}" if missing else None
    if name in ("python", "python3"):
        return _python_fault(arguments)
    if name == "pytest":
        missing = [word for word in arguments if word.startswith("tests/") and not (PROJECT / word).exists()]
        return f"no file {missing}" if missing else None
    if name in ("pip", "pre-commit"):
        extras = re.findall(r"\.\[([^\]]*)\]", " ".join(arguments))
        declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        missing = [extra for names in extras for extra in names.split(",") if extra not in declared]
        return f"no extra {missing}" if missing else None
    return None if name in _OTHER_PROGRAMS or (PROJECT / name).exists() else f"unknown program {name}"


def _python_fault(arguments: list[str]) -> str | None:
    if arguments[0] == "-m":
        return None if importlib.util.find_spec(arguments[1].split(".")[0]) else f"no module {arguments[1]}"
    return None if (PROJECT / arguments[0]).is_file() else f"no file {arguments[0]}"


def pages_with_blocks() -> list[str]:
    """Return the pages that have a console block."""
    return [page for page in tracked_files(".md") if blocks(page)]


@pytest.mark.parametrize("page", pages_with_blocks())
def test_the_commands_of_a_page_can_be_typed(page: str) -> None:
    lines = [words for block in blocks(page) for words in commands(block)]
    assert lines
    assert [(shlex.join(words), why) for words in lines if (why := fault(words))] == []


@pytest.mark.parametrize("page", pages_with_blocks())
def test_a_page_is_executed_or_has_a_reason(page: str) -> None:
    assert page in EXECUTED or any(page.startswith(prefix) for prefix in NOT_EXECUTED), "add a reason to NOT_EXECUTED"


@pytest.mark.parametrize("command", ["make upp", "python -m nonsense", "pip install '.[nothing]'", "frobnicate"])
def test_a_wrong_command_is_reported(command: str) -> None:
    assert fault(shlex.split(command))


@pytest.mark.parametrize("page", tracked_files(".md"))
def test_the_commands_in_the_text_of_a_page_exist(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (PROJECT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands_in_text = {" ".join(command.split()) for command in re.findall(r"`(mjctl [a-z][^`]*)`", text)}
    # Text such as `mjctl backup create | list` names several commands, and `mjctl.health/2` is a schema.
    wrong = {
        command: reason
        for command in commands_in_text
        if "|" not in command and (reason := advice_fault(command, complete=False))
    }
    assert wrong == {}
