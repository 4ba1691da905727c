"""The group class of every command group."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group whose help flag is False, and not None, while it is not given.

    Typer 0.29 converts a None by an adapter, for which it imports pydantic: 0.07 s of CPU on every start.
    """

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None and option.default is None:
            option.default = False
        return option
