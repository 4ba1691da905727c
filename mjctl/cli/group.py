"""Classes of commands and groups: they give options their environment variables and print help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from mjctl.cli.invocation import current

_Run = TypeVar("_Run", bound=Callable[..., Any])

# The options that have no environment variable. If --yes or --allow-data-loss had a variable, a shell in
# which the variable stays set would confirm every later command, or allow every later command to lose data.
ONLY_ON_THE_LINE = frozenset({"--yes", "--auto-approve", "--allow-data-loss"})

# The headings of `mjctl --help`, in their order.
HEADINGS = ("Deploy", "Observe", "Operate", "Data", "Set up")

# The help of a command divides the options by headings if the command has at least _MANY_OPTIONS options.
_MANY_OPTIONS = 12


class Command(TyperCommand):
    """Prints the help of a command: each option once, below the heading of the option.

    The help does not repeat the environment variables, because `mjctl help environment` lists them.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Store the name of the command, then parse its options."""
        # Store the command's name before the options are parsed, so that the JSON error of a wrong option names the
        # command.
        path = f"{parent.command_path} {info_name}" if parent is not None else str(info_name)
        current().command = path.partition(" ")[2]
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options into the help."""
        _write_parameters(self, ctx, formatter)


class CommandGroup(typer.Typer):
    """Collects commands of the class `Command`."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Run], _Run]:
        """Return the decorator that adds a function as a command, by default named like the function."""
        return super().command(name, **{"cls": Command, **options})


class Group(TyperGroup):
    """Gives each option of its commands an environment variable: `--dry-run` is MJCTL_DRY_RUN.

    Options that confirm a change or allow data loss have no variable.

    For the group's own options, the class avoids an import of pydantic that costs 0.07 s of CPU on every start. Typer
    0.29 converts even the value None of an option that was not given, and imports pydantic for that. The class sets the
    default of --help to False, and does not convert the value None of the group's other options.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for parameter in self.params:
            _name_variable(parameter)
            _keep_none(parameter)
        for command in self.commands.values():
            for parameter in command.params:
                _name_variable(parameter)

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help with the default False, which Typer need not convert."""
        option = super().get_help_option(ctx)
        if option is not None and option.default is None:
            option.default = False
        return option

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options, then commands into the help."""
        _write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer passes it
        """Write the commands under their headings, with all summaries in one column."""
        width = max(map(len, self.commands))
        limit = formatter.width - formatter.indent_increment - width - 2
        # Typer lists groups after commands, so the order of the headings is set here.
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            summary = command.get_short_help_str(limit)
            sections.setdefault(heading, []).append((name.ljust(width), summary))
        _write_sections(formatter, sections)


def variables(command: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield every option below `command` that has an environment variable.

    Yields:
        (variable, option, path of the command), such as ("MJCTL_LIMIT", "--limit", "queue peek").
    """
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.envvar:
            yield parameter.envvar, max(parameter.opts, key=len), path
    for name, child in getattr(command, "commands", {}).items():
        yield from variables(child, f"{path} {name}".strip())


def _keep_none(parameter: Any) -> None:
    convert = parameter.process_value
    parameter.process_value = lambda ctx, value: None if value is None else convert(ctx, value)


def _name_variable(parameter: Any) -> None:
    if parameter.param_type_name != "option" or parameter.is_eager or not ONLY_ON_THE_LINE.isdisjoint(parameter.opts):
        return
    longest = max(parameter.opts, key=len)
    parameter.envvar = parameter.envvar or f"MJCTL_{longest.lstrip('-').replace('-', '_').upper()}"


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    headed: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = _help_record(parameter, ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(record)
            continue
        options.append(record)
        headed.setdefault(parameter.rich_help_panel or "Options", []).append(record)
    sections = headed if len(options) >= _MANY_OPTIONS else {"Options": options}
    # Options without a heading, such as --help, come last.
    sections["Options"] = sections.pop("Options", [])
    _write_sections(formatter, {"Arguments": arguments, **sections})


def _write_sections(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    for heading, records in sections.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def _help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the two columns of a parameter in the help, without its environment variable and its Python type."""
    shown = copy(parameter)
    shown.show_envvar = False
    if parameter.param_type_name == "argument":
        shown.display_type_rich = lambda ctx: ""  # noqa: ARG005 - Typer names the argument
    elif parameter.metavar is None:
        shown.metavar = parameter.display_type_rich(ctx).strip("<>")
    record: tuple[str, str] | None = shown.get_help_record(ctx)
    return record
