"""`mjctl help` and `mjctl version`: what a person types before knowing any option."""

from __future__ import annotations

from typing import Annotated

import typer

from mjctl.cli.options import OutputOption
from mjctl.cli.session import OutputFormat, open_session
from mjctl.models.errors import UsageError


def help_page(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A command, e.g. `cache flush`, or `environment`.")
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
    parent, found = root, root.command
    for word in command or ():
        inner = getattr(found, "commands", {}).get(word)
        if inner is None:
            known = ", ".join(getattr(found, "commands", {})) or "none"
            raise UsageError(f"no command `{' '.join(command or ())}`", hint=f"commands here: {known}")
        found = inner
        parent = typer.Context(found, info_name=word, parent=parent)
    typer.echo(found.get_help(parent))


def version(output: OutputOption = OutputFormat.TEXT) -> None:
    """Show the version of mjctl.

    Example: mjctl version
    """
    from mjctl import __version__

    open_session(output).emit(f"mjctl {__version__}", version=__version__)
