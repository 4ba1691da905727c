"""Helpers that several commands of `mjctl backup` use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mjctl.cli.output.progress import Progress
    from mjctl.models.backup import Kind


def kinds_of(only: Sequence[str] | None) -> list[Kind]:
    """Return the kinds of data stores that --only names, or all kinds if --only was not given."""
    from mjctl.models.backup import Kind

    return [Kind(part) for part in only] if only else list(Kind)


def records(progress: Progress, label: str) -> Callable[[str, int], None]:
    """Show in the progress display how many records are done.

    The display has no total, because counting the records in advance would read all data twice.

    Returns:
        A callback `(part, count)` that adds `count` to the shown number of records. `part`, the name of a table, for
        example, is ignored.
    """
    add = progress.counter(label)
    return lambda _part, count: add(count)
