"""The parts that every command shares: streams, the choice of regions, confirmation, and the end with an exit code."""

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

# Number of columns that the last line of a question leaves free for the typed answer.
_ROOM_FOR_AN_ANSWER = 6


class OutputFormat(StrEnum):
    """Names the format of a command's result: text for people, JSON for programs."""

    TEXT = "text"
    JSON = "json"


class Exit(Exception):
    """Ends a command with an exit code other than 0.

    A command that raises `Exit` has printed its result and its errors already.
    """

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Session:
    """Holds the streams of one run.

    Attributes:
        out: stdout, for the result of the command.
        err: stderr, for progress, questions and errors.
        output: format of the result.
        stdin: the stream that answers to questions come from.
    """

    out: SafeConsole
    err: SafeConsole
    output: OutputFormat
    stdin: TextIO

    @property
    def interactive(self) -> bool:
        """Return whether a person can answer: stderr and stdin are terminals, and the variable CI is not set."""
        return self.err.is_terminal and self.stdin.isatty() and not os.environ.get("CI")

    def emit(self, renderable: Any, *, regions: Iterable[object] = (), **fields: Any) -> None:
        """Print the result on stdout: `renderable` as text, or the JSON document of this command.

        Args:
            renderable: The text, or None to print no text.
            regions: The regions' entries in the JSON document, or () for a command that has no regions.
            fields: The fields of the JSON document that are not part of the envelope.
        """
        if self.output is OutputFormat.JSON:
            from mjctl.cli.output.documents import document

            running = current()
            print_json(document(running.command or "", running.environment, regions, fields), self.out.file)
        elif renderable is not None:
            self.out.print(renderable)

    def say(self, *lines: str) -> None:
        """Print messages on stderr, one line for each message.

        Messages are escaped, and they are never folded, so that a command in a message can be copied.
        """
        for line in lines:
            self.err.print(printable(line), soft_wrap=True)

    def progress(self) -> Progress:
        """Return a new display of progress on stderr."""
        from mjctl.cli.output.progress import Progress

        return Progress(self.err)

    def confirm(self, question: str, *, yes: bool, name: str | None = None) -> None:
        """Ask the operator to confirm a change.

        Args:
            question: the change, as a question.
            yes: do not ask, because the command line has confirmed the change with --yes.
            name: the environment's name, if the operator must type it. By default the operator must type `yes`.

        Raises:
            RefusedError: the operator typed another word, or `yes` is false and no terminal is connected.
        """
        if yes:
            return
        if not self.interactive:
            raise RefusedError(
                "the change needs a confirmation, and there is no terminal to ask at",
                where=question,
                hint="check the question, then repeat the command with --yes",
            )
        # --quiet hides progress, but must not hide a question.
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
    """Return the streams of this process.

    Colours and width follow the terminal. --no-color and the variable NO_COLOR switch colours off.
    """
    from mjctl.cli.output.console import SafeConsole

    options = chosen()
    return Session(
        out=SafeConsole(sys.stdout, no_color=options.no_color),
        err=SafeConsole(sys.stderr, no_color=options.no_color, quiet=options.quiet),
        output=output,
        stdin=sys.stdin,
    )


def open_environment(name: str) -> tuple[Workspace, Environment]:
    """Find the project's folder and read the file of the environment `name`.

    Raises:
        NotFoundError: the current folder is in no project, or the project has no environment with this name.
        ConfigError: the environment's file is invalid; the error names file, line and field.
    """
    from mjctl.models.config_file import load_environment
    from mjctl.models.workspace import Workspace

    workspace = Workspace.discover()
    environment = load_environment(workspace, name)
    # If a command opens a second environment, the command's JSON document still names the first environment.
    current().environment = current().environment or environment.name
    return workspace, environment


def chosen_regions(environment: Environment, region: list[str] | None, all_regions: bool = False) -> tuple[str, ...]:
    """Return the regions that the command line names, in the order of the environment's file.

    Returns:
        () if the command line has neither --region nor --all-regions.

    Raises:
        UsageError: --region and --all-regions were both given.
        NotFoundError: a name in --region is no region of the environment.
    """
    named = tuple(dict.fromkeys(part.strip() for item in region or () for part in item.split(",") if part.strip()))
    if named and all_regions:
        raise UsageError("--region and --all-regions exclude each other", hint="leave out --region or --all-regions")
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
    """Return the regions that the command line names, for a command that requires --region or --all-regions.

    Raises:
        UsageError: neither --region nor --all-regions was given, or both options were.
        NotFoundError: a name in --region is no region of the environment.
    """
    regions = chosen_regions(environment, region, all_regions)
    if not regions:
        raise UsageError(
            "this command needs to know which regions to change",
            where=f"environment {environment.name}: {', '.join(environment.regions)}",
            hint="add --region REGION (repeatable) or --all-regions",
        )
    return regions
