"""`mjctl completion`: the script with which a shell completes mjctl's commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

# The environment variable with which a shell's completion script makes mjctl print completions and run no command.
COMPLETE_VARIABLE = "_MJCTL_COMPLETE"


class Shell(StrEnum):
    """Names a shell that can complete mjctl's commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="Name of the shell: bash, zsh or fish.")],
) -> None:
    """Print the completion script for a shell.

    Example: mjctl completion bash > ~/.local/share/bash-completion/completions/mjctl
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="mjctl", complete_var=COMPLETE_VARIABLE, shell=shell.value)
    typer.echo(script)
