"""What every command shares: options, streams, and the way to end with an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from mjctl.cli.invocation import current
from mjctl.cli.output.global_options import chosen
from mjctl.cli.output.json_document import print_json
from mjctl.cli.output.printable import printable
from mjctl.models.errors import NotFoundError, RefusedError, UsageError
from mjctl.models.exit_codes import ExitCode

if TYPE_CHECKING:
    from mjctl.cli.output.console import SafeConsole
    from mjctl.cli.output.progress import Progress
    from mjctl.models.environment import Environment
    from mjctl.models.workspace import Workspace

# Columns that the question leaves free in its last line: the answer stands beside it.
_ROOM_FOR_AN_ANSWER = 6


class OutputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class Exit(Exception):
    """Ends a command that has said all it has to say with a code other than 0."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Session:
    """The streams of one run: data goes to `out`, everything else to `err`."""

    out: SafeConsole
    err: SafeConsole
    output: OutputFormat
    stdin: TextIO

    @property
    def interactive(self) -> bool:
        """A person sits in front: both streams are terminals and this is no CI job."""
        return self.err.is_terminal and self.stdin.isatty() and not os.environ.get("CI")

    def emit(self, renderable: Any, *, regions: Iterable[object] = (), **fields: Any) -> None:
        """Print the result: `renderable` for people, or the JSON document of this command for programs.

        Args:
            regions: The document's entries, one a region; () for a command that has no regions.
            fields: The document's other fields.
        """
        if self.output is OutputFormat.JSON:
            from mjctl.cli.output.documents import document

            running = current()
            print_json(document(running.command or "", running.environment, regions, fields), self.out.file)
        elif renderable is not None:
            self.out.print(renderable)

    def say(self, *lines: str) -> None:
        """Print messages on stderr, one line each. They are escaped, and never folded: a command can be copied."""
        for line in lines:
            self.err.print(printable(line), soft_wrap=True)

    def progress(self) -> Progress:
        """A display of progress on stderr."""
        from mjctl.cli.output.progress import Progress

        return Progress(self.err)

    def confirm(self, question: str, *, yes: bool, name: str | None = None) -> None:
        """Ask before a change that cannot be undone.

        Args:
            yes: the command line has confirmed the change already (--yes).
            name: the word that the operator must type, the environment's name. By default the word is `yes`.

        Raises:
            RefusedError: the answer is another word, or there is no terminal to ask at and `yes` is false.
        """
        if yes:
            return
        if not self.interactive:
            raise RefusedError(
                "not confirmed, and there is no terminal to ask at",
                where=question,
                hint="repeat the command with --yes",
            )
        # A question is no progress: --quiet does not hide it.
        self.err.quiet = False
        wanted = name or "yes"
        request = f"Type the environment's name, {name}, to confirm:" if name else "Type yes to confirm:"
        from mjctl.cli.output.tables import folded, styled

        lines = folded(styled(question), self.err.width)
        if len(lines[-1]) + len(request) + _ROOM_FOR_AN_ANSWER > self.err.width:
            lines.append(styled())
        for line in lines[:-1]:
            self.err.print(line)
        self.err.print(lines[-1], end=" " if lines[-1] else "")
        self.err.print(f"{request} ", style="bold", end="")
        if self.stdin.readline().strip() != wanted:
            raise RefusedError(f"the answer was not `{wanted}`; nothing was changed")


def open_session(output: OutputFormat = OutputFormat.TEXT) -> Session:
    """Streams of this process. Colour and width follow the terminal; NO_COLOR is honoured."""
    from mjctl.cli.output.console import SafeConsole

    options = chosen()
    return Session(
        out=SafeConsole(sys.stdout, no_color=options.no_color),
        err=SafeConsole(sys.stderr, no_color=options.no_color, quiet=options.quiet),
        output=output,
        stdin=sys.stdin,
    )


def open_environment(name: str) -> tuple[Workspace, Environment]:
    """Find the project and read the environment; every error names what to change."""
    from mjctl.models.config_file import load_environment
    from mjctl.models.workspace import Workspace

    workspace = Workspace.discover()
    environment = load_environment(workspace, name)
    # A command that opens a second environment still belongs to the first one.
    current().environment = current().environment or environment.name
    return workspace, environment


def chosen_regions(environment: Environment, region: list[str] | None, all_regions: bool = False) -> tuple[str, ...]:
    """The regions a command was asked for, in the file's order; () when none was named.

    Raises:
        UsageError: --region and --all-regions together.
        NotFoundError: a region that the environment does not have.
    """
    named = tuple(dict.fromkeys(part.strip() for item in region or () for part in item.split(",") if part.strip()))
    if named and all_regions:
        raise UsageError("--region and --all-regions exclude each other")
    unknown = [name for name in named if name not in environment.regions]
    if unknown:
        raise NotFoundError(
            f"environment `{environment.name}` has no region {', '.join(unknown)}",
            where=f"configs/{environment.name}.yaml",
            hint=f"its regions: {', '.join(environment.regions)}",
        )
    if all_regions:
        return tuple(environment.regions)
    return tuple(name for name in environment.regions if name in named)


def wanted_regions(environment: Environment, region: list[str] | None, all_regions: bool) -> tuple[str, ...]:
    """The regions that a command was asked for, where it must be told: it changes them.

    Raises:
        UsageError: neither --region nor --all-regions was given, or both were.
        NotFoundError: a region that the environment does not have.
    """
    regions = chosen_regions(environment, region, all_regions)
    if not regions:
        raise UsageError(
            "this command needs to know which regions to change",
            where=f"environment {environment.name}: {', '.join(environment.regions)}",
            hint="add --region NAME (repeatable) or --all-regions",
        )
    return regions
