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
    """Add a line of progress that counts records.

    The line has no total, because counting the records in advance would read all data once more.

    Returns:
        A callback that adds a number of records. The callback ignores its first argument, the part of the records.
    """
    add = progress.counter(label)
    return lambda _part, count: add(count)
