from __future__ import annotations

from pathlib import Path

from mjctl.cli.app import tree
from mjctl.models.workspace import Workspace
from tools.cli_reference import _leaves, reference

PROJECT = Workspace.discover(Path(__file__)).project_dir


def test_the_page_is_the_generated_one() -> None:
    assert (PROJECT / "docs" / "cli.md").read_text() == reference()


def test_every_command_has_a_summary_and_an_example() -> None:
    for path, command in _leaves(tree(), "mjctl"):
        assert command.help, path
        assert f"Example: {path}" in command.help, path


def test_every_option_has_a_help_text() -> None:
    for path, command in _leaves(tree(), "mjctl"):
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{path}: {parameter.name}"
