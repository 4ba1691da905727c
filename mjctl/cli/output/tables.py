"""Tables without a frame. Numbers are aligned to the right, and names, ids and times are never wrapped or cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mjctl.cli.output.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

_GAP = 2
# The text of a column that folds is printed below its row if fewer than _NARROWEST_MESSAGE characters remain beside the
# other cells.
_NARROWEST_MESSAGE = 24
_INDENT = 4
_WORD = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True)
class Column:
    """Describes a column of a table.

    Attributes:
        heading: The heading, in capitals.
        priority: A column with priority 0 is always shown. If the line is too short, the column with the largest
            priority is left out first.
        right: Align the cells to the right, for numbers.
        folds: The cells are free text that may continue on further lines. Only the last column can fold.
    """

    heading: str
    priority: int = 0
    right: bool = False
    folds: bool = False


class DataTable:
    """Shows rows of data to people. Cells are escaped, so that data cannot control the terminal.

    A table that is too wide leaves out columns by priority, and names these columns below the table. If the columns of
    priority 0 alone are too wide, each row becomes a block of lines `HEADING value`.
    """

    def __init__(self, *columns: Column, headless: bool = False) -> None:
        """Create an empty table.

        Args:
            headless: Print neither the headings nor the names of columns that were left out.
        """
        if any(column.folds for column in columns[:-1]):
            raise ValueError("only the last column can fold")
        self._columns = columns
        self._headless = headless
        self._rows: list[list[Text]] = []

    @property
    def row_count(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def add_row(self, *cells: str | Text | tuple[str, str]) -> None:
        """Add a row.

        Args:
            cells: A cell for each column: text, `(text, style)`, or the result of `styled`.
        """
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells for {len(self._columns)} columns")
        self._rows.append([_cell(cell) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        every = range(len(self._columns))
        widths = {index: self._width(index) for index in every}
        shown, layout = self._layout(widths, options.max_width)
        if layout != "beside" or len(shown) < len(every):
            # Ignore very long cells, so that a few long cells do not remove columns from all other rows.
            widths = {index: self._usual_width(index, options.max_width // 2) for index in every}
            shown, layout = self._layout(widths, options.max_width)
        if layout == "blocks":
            yield from self._blocks(shown)
        else:
            if not self._headless:
                headed = shown[:-1] if layout == "below" else shown
                yield self._line([Text(column.heading, style="dim") for column in self._columns], headed, widths)
            for row in self._rows:
                yield from self._row(row, shown, widths, options.max_width, below=layout == "below")
        hidden = [column.heading for index, column in enumerate(self._columns) if self._is_missed(index, shown)]
        if hidden and not self._headless:
            note = Text(f"hidden for lack of room: {', '.join(hidden)}", style="dim")
            yield from folded(note, options.max_width)

    def _is_missed(self, index: int, shown: Sequence[int]) -> bool:
        return index not in shown and bool(self._columns[index].heading) and self._has_content(index)

    def _layout(self, widths: dict[int, int], room: int) -> tuple[list[int], str]:
        """Choose the columns to show and the layout.

        Returns:
            (indexes of the columns, layout). The layout is `beside` or `below`, which is the place of a row's last
            cell, or `blocks`, with a line for each cell.
        """
        every = list(range(len(self._columns)))
        message = every[-1:] if self._columns and self._columns[-1].folds else []
        shown = every
        while True:
            if _needed(widths, shown, message) <= room:
                return shown, "beside"
            droppable = [index for index in shown if self._columns[index].priority]
            if not droppable:
                break
            # In a table that is too wide, columns without content are left out first. Of columns with equal priority,
            # the rightmost column is left out first.
            drop = max(droppable, key=lambda i: (not self._has_content(i), self._columns[i].priority, i))
            shown = [index for index in shown if index != drop]
        if message and message[0] in shown and _needed(widths, [i for i in shown if i not in message], []) <= room:
            return shown, "below"
        return shown, "blocks"

    def _width(self, index: int) -> int:
        from rich.cells import cell_len

        heading = 0 if self._headless else cell_len(self._columns[index].heading)
        return max([heading, *(row[index].cell_len for row in self._rows)])

    def _usual_width(self, index: int, most: int) -> int:
        """Return the width of a column, ignoring long cells if the column has priority 0 and is not folded.

        Args:
            most: Number of characters above which a cell is ignored, unless all cells are longer.
        """
        from rich.cells import cell_len

        column = self._columns[index]
        usual = [row[index].cell_len for row in self._rows if row[index].cell_len <= most]
        if column.priority or column.folds or not usual:
            return self._width(index)
        return max([0 if self._headless else cell_len(column.heading), *usual])

    def _has_content(self, index: int) -> bool:
        return any(row[index].plain.strip("- ") for row in self._rows)

    def _row(
        self, row: list[Text], shown: list[int], widths: dict[int, int], room: int, *, below: bool
    ) -> Iterator[Text]:
        from rich.text import Text

        last = shown[-1]
        if not self._columns[last].folds:
            yield from self._lines(row, shown, widths)
            return
        first = shown[:-1]
        indent = _INDENT if below or not first else sum(widths[index] + _GAP for index in first)
        message = row[last]
        lines = folded(message, room - indent)
        if below or not first:
            if first:
                yield from self._lines(row, first, widths)
            yield from (_raw(Text(" " * (indent if first else 0)).append_text(line)) for line in lines if line.plain)
            return
        yield from self._lines([*row[:last], lines[0]], shown, widths)
        yield from (_raw(Text(" " * indent).append_text(line)) for line in lines[1:])

    def _lines(self, cells: Sequence[Text], shown: Sequence[int], widths: dict[int, int]) -> Iterator[Text]:
        """Yield the lines of a row. After a cell that is longer than its column, the next cells begin a new line."""
        from rich.text import Text

        line = list(cells)
        for index in shown[:-1]:
            if cells[index].cell_len > widths[index]:
                yield self._line(line, shown[: shown.index(index) + 1], widths)
                line = [Text() if number <= index else cell for number, cell in enumerate(line)]
        rest = self._line(line, shown, widths)
        if rest.plain:
            yield rest

    def _line(self, cells: Sequence[Text], shown: Sequence[int], widths: dict[int, int]) -> Text:
        from rich.text import Text

        line = Text()
        for index in shown:
            cell, space = cells[index], " " * max(0, widths[index] - cells[index].cell_len)
            line.append_text(Text(space).append_text(cell) if self._columns[index].right else cell.copy())
            if index != shown[-1]:
                line.append(("" if self._columns[index].right else space) + " " * _GAP)
        line.rstrip()
        return _raw(line)

    def _blocks(self, shown: Sequence[int]) -> Iterator[Text]:
        from rich.text import Text

        width = max((len(self._columns[index].heading) for index in shown), default=0)
        for number, row in enumerate(self._rows):
            if number:
                yield Text()
            for index in shown:
                if row[index].plain:
                    heading = self._columns[index].heading
                    yield _raw(Text.assemble((f"{heading:<{width}}{' ' * _GAP}", "dim"), row[index]))


def _needed(widths: dict[int, int], shown: Sequence[int], message: Sequence[int]) -> int:
    needed = [min(widths[index], _NARROWEST_MESSAGE) if index in message else widths[index] for index in shown]
    return sum(needed) + _GAP * max(0, len(needed) - 1)


def plain_table(*headings: str) -> DataTable:
    """Return a table that never leaves out a column.

    Args:
        headings: The headings. A column whose heading begins with `>` is aligned to the right.
    """
    return DataTable(*(Column(heading.removeprefix(">"), right=heading.startswith(">")) for heading in headings))


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return a line of text. Each part is escaped.

    Args:
        parts: Text, or (text, style).
    """
    from rich.text import Text

    return Text.assemble(
        *(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts)
    )


def whole_line(*parts: str | tuple[str, str]) -> Text:
    """Return a line that is never folded, so that an address or a command in it can be copied."""
    return _raw(styled(*parts))


class Sentence:
    """Prints a line that is folded between words only, so that times and names in the line stay whole."""

    def __init__(self, *parts: str | tuple[str, str]) -> None:
        self.text = styled(*parts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from folded(self.text, options.max_width)


def folded(text: Text, room: int) -> list[Text]:
    """Split a text into lines of at most `room` characters, between words only.

    A word longer than `room` stays whole.
    """
    from rich.cells import cell_len

    breaks, used = [], 0
    for word in _WORD.finditer(text.plain):
        if used and used + cell_len(word[0].rstrip()) > room:
            breaks.append(word.start())
            used = 0
        used += cell_len(word[0])
    lines = list(text.divide(breaks))
    for line in lines:
        line.rstrip()
    return [_raw(line) for line in lines]


def _cell(cell: str | Text | tuple[str, str]) -> Text:
    from rich.text import Text

    if isinstance(cell, Text):
        safe = printable(cell.plain)
        return cell if safe == cell.plain else Text(safe, cell.style)
    return styled(cell)


def _raw(line: Text) -> Text:
    """Return the line with settings by which Rich neither wraps nor cuts it."""
    line.no_wrap, line.overflow = True, "ignore"
    return line


def human_bytes(count: float) -> str:
    """Return a number of bytes for people: 1536 gives `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float | None) -> str:
    """Return a number of seconds for people: 90061 gives `1d 1h`, and None gives `-`."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    parts = ((whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s"))
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount}{unit}" for amount, unit in parts[first : first + 2] if amount)


def human_age(instant: datetime | str | None, now: datetime | None = None) -> str:
    """Return the age of an instant for people: `12 min ago`, `in 5 min` for the future, `-` for None.

    Args:
        instant: A time, or text in ISO 8601. A time without an offset is UTC. Text that is not in ISO 8601 is returned
            unchanged.
        now: The present time, by default the time of the clock.
    """
    if instant is None or instant == "":
        return "-"
    if isinstance(instant, str):
        try:
            instant = datetime.fromisoformat(instant)
        except ValueError:
            return str(instant)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    size = abs(seconds)
    for limit, divisor, unit in ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d")):
        if size < limit:
            amount = f"{int(size // divisor)} {unit}"
            return f"{amount} ago" if seconds >= 0 else f"in {amount}"
    raise AssertionError("every age is below the last limit, which is infinite")


def counted(count: int, thing: str) -> str:
    """Return a number with its noun: `1 key`, `2 keys`, `1 match`, `2 matches`."""
    if count == 1:
        return f"{count} {thing}"
    return f"{count} {thing}{'es' if thing.endswith(('ch', 's', 'x')) else 's'}"
