"""The group class of every command group."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

# A variable that stays set in a shell would confirm every later command, or allow each to lose data.
ONLY_ON_THE_LINE = frozenset({"--yes", "--auto-approve", "--allow-data-loss"})


class Group(TyperGroup):
    """A group that gives each option of its commands an environment variable: `--dry-run` is MJCTL_DRY_RUN.

    Options that confirm a change or allow data loss have none.

    What is not given of a group's own options stays as it is: Typer 0.29 converts even a None by an adapter, for which
    it imports pydantic: 0.07 s of CPU on every start. So the help flag is False, and the others are passed over.
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
        option = super().get_help_option(ctx)
        if option is not None and option.default is None:
            option.default = False
        return option


def _keep_none(parameter: Any) -> None:
    convert = parameter.process_value
    parameter.process_value = lambda ctx, value: None if value is None else convert(ctx, value)


def _name_variable(parameter: Any) -> None:
    if parameter.param_type_name != "option" or parameter.is_eager or not ONLY_ON_THE_LINE.isdisjoint(parameter.opts):
        return
    longest = max(parameter.opts, key=len)
    parameter.envvar = parameter.envvar or f"MJCTL_{longest.lstrip('-').replace('-', '_').upper()}"
