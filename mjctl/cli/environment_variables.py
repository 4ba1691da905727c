"""The environment variables that mjctl reads, for `mjctl help environment` and docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mjctl.cli.group import variables

# The environment variables that mjctl reads and that set no option of a command.
OTHERS: Mapping[str, str] = {
    "CI": "If CI is set, mjctl asks no questions and prints progress as lines.",
    "COLUMNS": "Width of the output, in characters.",
    "FORCE_COLOR": "If FORCE_COLOR is set, output has colours even in a file or a pipe.",
    "LINES": "Height of the terminal, in lines.",
    "MJCTL_HOME": "Folder for states, releases and caches. Default: `.mjctl` in the project's folder.",
    "MJCTL_PROJECT_DIR": "The project's folder. Default: the nearest folder upwards that contains configs/.",
    "MJCTL_TERRAFORM": "Path or name of the Terraform executable, or `pip` for the engine that pip installs.",
    "NO_COLOR": "If NO_COLOR is set, output has no colours.",
    "TERM": "`dumb` switches off colours and every escape sequence.",
    "TF_PLUGIN_MIRROR": "Folder from which Terraform installs its providers, instead of the registry.",
}

# `mjctl help environment` names the commands of an option only if at most _FEW_COMMANDS commands have the option.
_FEW_COMMANDS = 4


def option_variables(tree: Any) -> dict[str, str]:
    """Return the options that each variable sets.

    Returns:
        variable -> options in words, such as `--limit of history`.
    """
    options: dict[str, dict[str, list[str]]] = {}
    for variable, option, command in variables(tree):
        options.setdefault(variable, {}).setdefault(option, []).append(command)
    return {
        variable: "; ".join(_named(option, commands) for option, commands in options[variable].items())
        for variable in sorted(options)
    }


def _named(option: str, commands: list[str]) -> str:
    few = [command for command in commands if command]
    return f"{option} of {', '.join(few)}" if few and len(few) <= _FEW_COMMANDS else option


def page(context: Any) -> str:
    """Return the text of `mjctl help environment`."""
    formatter = context.make_formatter()
    formatter.write_text(
        "A variable sets the option beside it. An option on the command line overrides its variable. "
        "The options --yes, --auto-approve and --allow-data-loss have no variable."
    )
    for heading, rows in (("Options", option_variables(context.command)), ("Others", OTHERS)):
        with formatter.section(heading):
            formatter.write_dl(list(rows.items()))
    return str(formatter.getvalue()).rstrip("\n")
