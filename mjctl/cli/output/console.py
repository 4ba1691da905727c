"""The console of every command: its width, its colours, and a guard against escape sequences in data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions, ConsoleOptions, OverflowMethod, RenderableType
from rich.segment import Segment
from rich.text import Text

from mjctl.cli.output.printable import printable

# A log or a pipe has no width: folded lines there break grep and copying.
_WIDTH_OFF_A_TERMINAL = 10_000
_WIDEST = 10_000
# Below this width nothing can be laid out; longer lines are then left to the terminal.
_NARROWEST = 20
_DEFAULT_SIZE = (80, 24)


class SafeConsole(Console):
    """A console that takes strings literally and never writes a control character that comes from data.

    Lines are left as long as they are: the terminal wraps them, so that a name or a command is copied in one piece.
    """

    def __init__(self, file: TextIO, *, no_color: bool = False, quiet: bool = False) -> None:
        environment = _environment()
        plain = no_color or bool(environment.get("NO_COLOR"))
        super().__init__(
            file=file,
            quiet=quiet,
            # Without a colour system Rich writes no escape sequence, not even for bold. Its own `no_color` keeps those.
            color_system=None if plain else "auto",
            markup=False,
            emoji=False,
            highlight=False,
            _environ=environment,
        )
        self._plain = plain

    @property
    def draws(self) -> bool:
        """Whether lines can be changed in place: on a terminal that moves its cursor, with a person in front of it."""
        return self.file.isatty() and not (self._plain or self.is_dumb_terminal or os.environ.get("CI"))

    @property  # type: ignore[misc] # Rich's setter pins a size; this console follows its terminal.
    def size(self) -> ConsoleDimensions:
        """Columns and lines of the terminal now; COLUMNS and LINES win where they are positive numbers."""
        columns, lines = self._terminal_size()
        columns = _positive(os.environ.get("COLUMNS")) or columns
        return ConsoleDimensions(
            max(_NARROWEST, min(columns, _WIDEST)), _positive(os.environ.get("LINES")) or max(lines, 1)
        )

    def print(self, *objects: Any, overflow: OverflowMethod | None = "ignore", crop: bool = False, **more: Any) -> None:
        """Print as Rich does, but neither fold nor cut: the terminal wraps, and a copied line has no line ends."""
        super().print(*objects, overflow=overflow, crop=crop, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as Rich does, after escaping. Tables and messages escape newlines too, before they come here."""
        return super().render(_guarded(renderable), options)

    def _terminal_size(self) -> tuple[int, int]:
        if not self.file.isatty():
            return _WIDTH_OFF_A_TERMINAL, _DEFAULT_SIZE[1]
        try:
            size = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):
            return _DEFAULT_SIZE
        # A pseudo-terminal that was never given a size reports 0 by 0.
        return size.columns or _DEFAULT_SIZE[0], size.lines or _DEFAULT_SIZE[1]


def _guarded(renderable: RenderableType) -> RenderableType:
    if isinstance(renderable, str):
        return printable(renderable, keep="\n")
    if isinstance(renderable, Text) and (safe := printable(renderable.plain, keep="\n")) != renderable.plain:
        # The spans are lost: their positions belong to the text before it was escaped.
        return Text(
            safe, renderable.style, justify=renderable.justify, overflow=renderable.overflow, no_wrap=renderable.no_wrap
        )
    return renderable


def _environment() -> Mapping[str, str]:
    """What Rich may read. COLUMNS and LINES are read here instead: Rich fails on some values and accepts 0."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    # A terminal without a name is not known to understand any escape sequence.
    return kept if kept.get("TERM") else {**kept, "TERM": "dumb"}


def _positive(value: str | None) -> int:
    """The number in a variable; 0 if it is not a positive number."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0
