"""The environment variables that mjctl reads, for `mjctl help environment` and docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mjctl.cli.group import variables

# Variables that stand for no option.
OTHERS: Mapping[str, str] = {
    "CI": "If it is set, nothing is asked and progress is printed as lines.",
    "COLUMNS": "Width of the output, in characters.",
    "FORCE_COLOR": "If it is set, output has colours although it goes to no terminal.",
    "LINES": "Height of the terminal, in lines.",
    "MJCTL_HOME": "Folder for states, releases and caches; by default `.mjctl` in the project.",
    "MJCTL_PROJECT_DIR": "Folder of the project; by default the nearest folder above that holds configs/.",
    "MJCTL_TERRAFORM": "Path of the Terraform or OpenTofu executable, or `pip` for the packaged one.",
    "NO_COLOR": "If it is set, output has no colours.",
    "TERM": "`dumb` switches off colours and every escape sequence.",
    "TF_PLUGIN_MIRROR": "Folder from which Terraform takes its providers instead of the registry.",
}

# An option of more commands than this is named without them.
_FEW_COMMANDS = 4


def option_variables(tree: Any) -> dict[str, str]:
    """Return for each variable that stands for an option what it sets, such as `--limit of history`."""
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
        "An option can be given by its variable; the command line counts before it. "
        "No variable stands for --yes, --auto-approve and --allow-data-loss."
    )
    for heading, rows in (("Options", option_variables(context.command)), ("Others", OTHERS)):
        with formatter.section(heading):
            formatter.write_dl(list(rows.items()))
    return str(formatter.getvalue()).rstrip("\n")
