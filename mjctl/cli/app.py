"""The tree of commands.

The modules of the commands import services inside of functions only, so that `mjctl --help` starts quickly.
"""

from __future__ import annotations

from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import typer.main

from mjctl.cli.commands import (
    about,
    backup,
    bootstrap,
    cache,
    completion,
    config,
    deploy,
    doctor,
    failover,
    health,
    loadtest,
    package,
    queue,
    sandbox,
    servers,
    state,
)
from mjctl.cli.group import CommandGroup, Group
from mjctl.cli.output.global_options import choose

if TYPE_CHECKING:
    from typer.core import TyperGroup

_EPILOG = (
    "Exit codes: 0 done, 2 changes pending, 3 unhealthy, 4 some regions failed, 130 interrupted. docs/cli.md lists all "
    "exit codes."
    "\n\n"
    "`mjctl help environment` lists the environment variables."
)

app = CommandGroup(
    name="mjctl",
    cls=Group,
    help="Plan, apply and operate a multi-region multiplayer game.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # `mjctl completion` replaces Typer's options for completion, because these options would import pydantic on every
    # start of mjctl.
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from mjctl import __version__

        typer.echo(f"mjctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001 - the callback of the option has printed the version
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version of mjctl and exit.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="Print without colours, as with the variable NO_COLOR.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors and questions on stderr.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every event of Terraform on stderr, line by line.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="PATH",
            help="Append a copy of stderr to this file, with a time in each line. If mjctl creates the log "
            "file, only your user can read it.",
        ),
    ] = None,
) -> None:
    """Store the options that every command accepts."""
    choose(no_color, quiet, verbose, log_file)


for run in (deploy.plan, deploy.deploy, deploy.rollback, deploy.destroy, package.package):
    app.command(rich_help_panel="Deploy")(run)

for look in (state.status, health.health, deploy.drift, state.outputs, state.history):
    app.command(rich_help_panel="Observe")(look)

app.add_typer(servers.app, cls=Group, name="servers", rich_help_panel="Operate")
app.command(rich_help_panel="Operate")(failover.failover)
app.add_typer(queue.app, cls=Group, name="queue", rich_help_panel="Operate")
app.command(rich_help_panel="Operate")(state.unlock)
app.command(rich_help_panel="Operate")(loadtest.loadtest)

app.add_typer(backup.app, cls=Group, name="backup", rich_help_panel="Data")
app.add_typer(cache.app, cls=Group, name="cache", rich_help_panel="Data")

app.command(rich_help_panel="Set up")(bootstrap.bootstrap)
app.add_typer(config.app, cls=Group, name="config", rich_help_panel="Set up")
app.add_typer(sandbox.app, cls=Group, name="sandbox", rich_help_panel="Set up")
app.command(rich_help_panel="Set up")(doctor.doctor)
app.command(rich_help_panel="Set up")(completion.completion)
app.command(rich_help_panel="Set up")(about.version)
app.command("help", rich_help_panel="Set up")(about.help_page)


@once
def tree() -> TyperGroup:
    """Return the parser of command lines.

    The parser is built once in a process, because building takes longer than parsing.
    """
    return typer.main.get_group(app)
