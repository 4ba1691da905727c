"""The tree of commands. Modules named here import no service at the top: `mjctl --help` must stay quick."""

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
from mjctl.cli.global_options import choose
from mjctl.cli.group import Group

if TYPE_CHECKING:
    from typer.core import TyperGroup

_EPILOG = (
    "Exit codes: 0 done, 2 changes pending, 3 unhealthy, 4 some regions failed, 130 interrupted; docs/cli.md has all."
)

app = typer.Typer(
    name="mjctl",
    cls=Group,
    help="Plan, apply and operate a multi-region multiplayer game.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # Its two options would import pydantic on every start: `mjctl completion` does the same.
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
    version: Annotated[  # noqa: ARG001 - its callback has done all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr, only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Everything that Terraform says, line by line.")] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", help="Append stderr to this private file, with times."),
    ] = None,
) -> None:
    choose(no_color, quiet, verbose, log_file)


app.command()(bootstrap.bootstrap)
app.command()(package.package)
app.command()(deploy.plan)
app.command()(deploy.deploy)
app.command()(deploy.destroy)
app.command()(deploy.rollback)
app.command()(deploy.drift)
app.command()(state.outputs)
app.command()(state.status)
app.command()(state.history)
app.command()(state.unlock)
app.command()(failover.failover)
app.command()(health.health)
app.add_typer(backup.app, cls=Group, name="backup", help="Make, verify, restore, prune and rehearse backups.")
app.add_typer(cache.app, cls=Group, name="cache", help="Inspect, invalidate or flush the distributed cache.")
app.add_typer(queue.app, cls=Group, name="queue", help="Look into the queues and their dead-letter queues.")
app.add_typer(servers.app, cls=Group, name="servers", help="The game servers.")
app.add_typer(sandbox.app, cls=Group, name="sandbox", help="The emulated AWS in which production is rehearsed.")
app.command()(loadtest.loadtest)
app.command()(doctor.doctor)
app.command()(completion.completion)
app.command("help")(about.help_page)
app.command()(about.version)
app.add_typer(config.app, cls=Group, name="config", help="Check and show the environments in configs/.")


@once
def tree() -> TyperGroup:
    """Make what parses command lines; building it takes longer than parsing, so a process does it once."""
    return typer.main.get_group(app)
