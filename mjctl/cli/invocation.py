"""The command that runs now and its environment. Every JSON document names the command and the environment."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Invocation:
    """Describes one command line.

    Attributes:
        command: name of the command, such as `cache stats`, or None before the parser has recognized the command.
        environment: name of the environment, or None before the environment's file was read.
    """

    command: str | None = None
    environment: str | None = None


_CURRENT: ContextVar[Invocation] = ContextVar("mjctl_invocation")


def begin() -> None:
    """Forget the last command line, because tests run several command lines in one process."""
    _CURRENT.set(Invocation())


def current() -> Invocation:
    """Return the command line that runs now."""
    try:
        return _CURRENT.get()
    except LookupError:
        begin()
        return _CURRENT.get()
