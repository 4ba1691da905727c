"""The console of every command: its width, its colours, and a guard against escape sequences in data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions, ConsoleOptions, OverflowMethod, RenderableType
from rich.segment import Segment
from rich.text import Text

from mjctl.cli.output.printable import printable

# The width of the output to a log or a pipe: so large that no line is folded, because a folded line would break grep
# and copying.
_WIDTH_OFF_A_TERMINAL = 10_000
_WIDEST = 10_000
# The smallest terminal width, in characters, for which mjctl lays out its output. A terminal with fewer columns wraps
# the lines of the output.
_NARROWEST = 20
_DEFAULT_SIZE = (80, 24)


class SafeConsole(Console):
    """Prints strings literally, and never writes a control character that comes from data.

    The console inserts no line breaks into long lines, so that an operator can copy a long command in one piece. The
    terminal wraps long lines.
    """

    def __init__(self, file: TextIO, *, no_color: bool = False, quiet: bool = False) -> None:
        environment = _environment()
        plain = no_color or bool(environment.get("NO_COLOR"))
        super().__init__(
            file=file,
            quiet=quiet,
            # Without a colour system Rich writes no escape sequence at all. Rich's option `no_color` would keep the
            # escape sequences for bold text.
            color_system=None if plain else "auto",
            markup=False,
            emoji=False,
            highlight=False,
            _environ=environment,
        )
        self._plain = plain

    @property
    def draws(self) -> bool:
        """Return whether lines can be changed in place: on a terminal that understands escape sequences, outside CI."""
        return self.file.isatty() and not (self._plain or self.is_dumb_terminal or os.environ.get("CI"))

    @property  # type: ignore[misc] # Rich's setter pins a size; this console follows its terminal.
    def size(self) -> ConsoleDimensions:
        """Return the columns and lines of the terminal now.

        The variables COLUMNS and LINES override the terminal's size if they are positive numbers.
        """
        columns, lines = self._terminal_size()
        columns = _positive(os.environ.get("COLUMNS")) or columns
        return ConsoleDimensions(
            max(_NARROWEST, min(columns, _WIDEST)), _positive(os.environ.get("LINES")) or max(lines, 1)
        )

    def print(self, *objects: Any, overflow: OverflowMethod | None = "ignore", crop: bool = False, **more: Any) -> None:
        """Print like Rich, but neither fold nor cut lines, so that long lines can be copied from the terminal."""
        super().print(*objects, overflow=overflow, crop=crop, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape unsafe characters except newlines, then render like Rich.

        `DataTable` and `Session.say` escape newlines too.
        """
        return super().render(_guarded(renderable), options)

    def _terminal_size(self) -> tuple[int, int]:
        if not self.file.isatty():
            return _WIDTH_OFF_A_TERMINAL, _DEFAULT_SIZE[1]
        try:
            size = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):
            return _DEFAULT_SIZE
        # A pseudo-terminal without a size reports 0 columns and 0 lines, so the default size replaces 0.
        return size.columns or _DEFAULT_SIZE[0], size.lines or _DEFAULT_SIZE[1]


def _guarded(renderable: RenderableType) -> RenderableType:
    if isinstance(renderable, str):
        return printable(renderable, keep="\n")
    if isinstance(renderable, Text) and (safe := printable(renderable.plain, keep="\n")) != renderable.plain:
        # The styles of single words are dropped, because their positions refer to the text before it was escaped.
        return Text(
            safe, renderable.style, justify=renderable.justify, overflow=renderable.overflow, no_wrap=renderable.no_wrap
        )
    return renderable


def _environment() -> Mapping[str, str]:
    """Return the environment variables that Rich may read.

    COLUMNS and LINES are left out, because Rich fails on values that are no numbers, and accepts the width 0. Only
    `SafeConsole.size` reads COLUMNS and LINES.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    # Without the variable TERM, assume that the terminal understands no escape sequences.
    return kept if kept.get("TERM") else {**kept, "TERM": "dumb"}


def _positive(value: str | None) -> int:
    """Return the number in `value`, or 0 if `value` is not a positive whole number."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0
