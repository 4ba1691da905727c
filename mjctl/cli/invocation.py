"""The command that runs now, and its environment: every JSON document names both."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Invocation:
    """One command line. `command` is None until the parser knows it, `environment` until its file was read."""

    command: str | None = None
    environment: str | None = None


_CURRENT: ContextVar[Invocation] = ContextVar("mjctl_invocation")


def begin() -> None:
    """Forget the last command line: tests run several in one process."""
    _CURRENT.set(Invocation())


def current() -> Invocation:
    """Return the command line of this run."""
    try:
        return _CURRENT.get()
    except LookupError:
        begin()
        return _CURRENT.get()
