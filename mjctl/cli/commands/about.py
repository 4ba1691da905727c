"""`mjctl help` and `mjctl version`, which print the same text as the options --help and --version."""

from __future__ import annotations

from typing import Annotated

import typer

from mjctl.cli.options import OutputOption
from mjctl.cli.session import OutputFormat, open_session
from mjctl.models.errors import UsageError


def help_page(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="A command, for example `cache flush`, or the word `environment`."),
    ] = None,
) -> None:
    """Show the help of mjctl or of one command, as --help does.

    `mjctl help environment` lists the environment variables.

    Example: mjctl help cache flush
    """
    root = context.find_root()
    if command == ["environment"]:
        from mjctl.cli.environment_variables import page

        typer.echo(page(root))
        return
    parent, subject = root, root.command
    for word in command or ():
        inner = getattr(subject, "commands", {}).get(word)
        if inner is None:
            known = ", ".join(getattr(subject, "commands", {})) or "none"
            raise UsageError(
                f"mjctl has no command `{' '.join(command or ())}`",
                hint=f"commands of `{parent.command_path}`: {known}",
            )
        subject = inner
        parent = typer.Context(subject, info_name=word, parent=parent)
    typer.echo(subject.get_help(parent))


def version(output: OutputOption = OutputFormat.TEXT) -> None:
    """Show the version of mjctl.

    Example: mjctl version
    """
    from mjctl import __version__

    open_session(output).emit(f"mjctl {__version__}", version=__version__)
