"""Progress of long work on stderr: a terminal shows bars that change in place, a log gets a line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mjctl.cli.output.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, TaskID

    from mjctl.cli.output.console import SafeConsole

_LINE_INTERVAL_SECONDS = 10.0
_WIDTH_FOR_TIME, _WIDTH_FOR_BAR = 56, 80


@dataclass
class _Task:
    label: str
    total: float | None
    completed: float = 0
    bar: TaskID | None = None


class Progress:
    """Shows the tasks of a command, and how many steps of each task are done.

    A pipe, a log, CI and a terminal that cannot change lines in place get a line every ten seconds. Without bars, work
    that takes less than ten seconds prints no line.
    """

    def __init__(self, console: SafeConsole) -> None:
        self._console = console
        self._tasks: list[_Task] = []
        self._bars: Bars | None = _bars(console) if console.draws and not console.quiet else None
        self._started = time.monotonic()
        self._next_line = self._started + _LINE_INTERVAL_SECONDS

    def __enter__(self) -> Progress:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin the display."""
        if self._bars is not None:
            self._bars.start()

    def stop(self) -> None:
        """End the display and remove its lines from the terminal."""
        if self._bars is not None:
            self._bars.stop()

    def add_task(self, label: str, total: float | None = None, *, visible: bool = True) -> int:
        """Add a task to the display.

        Args:
            label: The task in a few words. The label is escaped.
            total: Number of steps of the task, or None if the number is unknown.
            visible: False hides the task.

        Returns:
            The number of the task, for `update` and `advance`.
        """
        task = _Task(printable(label), total)
        if self._bars is not None:
            task.bar = self._bars.add_task(task.label, total=total, visible=visible)
        self._tasks.append(task)
        return len(self._tasks) - 1

    def update(self, number: int, *, completed: float, total: float | None = None) -> None:
        """Set the progress of a task.

        Args:
            number: The number of the task, as `add_task` returned it.
            completed: Number of steps that are done.
            total: Number of all steps, or None to keep the last total.
        """
        task = self._tasks[number]
        task.completed = completed
        task.total = task.total if total is None else total
        if self._bars is not None and task.bar is not None:
            self._bars.update(task.bar, completed=completed, total=task.total)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_INTERVAL_SECONDS
            elapsed = time.monotonic() - self._started
            self._console.print(f"{task.label}: {_amount(task.completed, task.total)} after {elapsed:.0f} s")

    def counter(self, label: str) -> Callable[[int], None]:
        """Add a task with an unknown total. Returns a callback that adds a number of completed steps."""
        task = self.add_task(label)
        return lambda count: self.advance(task, count)

    def gauge(self, label: str) -> Callable[[float, float | None], None]:
        """Add a task. Returns a callback that sets the number of completed steps and the total (None if unknown)."""
        task = self.add_task(label)
        return lambda completed, total: self.update(task, completed=completed, total=total)

    def advance(self, number: int, steps: float = 1) -> None:
        """Add a number of completed steps to a task."""
        self.update(number, completed=self._tasks[number].completed + steps)


def _amount(completed: float, total: float | None) -> str:
    return f"{completed:.0f}" if total is None else f"{completed:.0f}/{total:.0f}"


def _bars(console: SafeConsole) -> Bars:
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class AmountColumn(TaskProgressColumn):
        """Shows the completed steps: `120/300`, or `120` if the total is unknown."""

        def render(self, task: object) -> Text:
            return Text(_amount(task.completed, task.total), style="progress.download")  # type: ignore[attr-defined]

    # Rich would cut numbers that do not fit, so a narrow terminal gets fewer columns.
    spinner = SpinnerColumn("dots" if console.encoding.lower().startswith("utf") else "line")
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), AmountColumn()]
    if console.width >= _WIDTH_FOR_TIME:
        columns = [spinner, *columns, TimeElapsedColumn()]
    if console.width >= _WIDTH_FOR_BAR:
        columns.insert(2, BarColumn())
    return RichProgress(
        *columns,
        console=console,
        transient=True,
    )
