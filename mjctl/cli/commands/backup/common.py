"""Options and helpers that several commands of `mjctl backup` use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mjctl.cli.output.progress import Progress
    from mjctl.models.backup import Kind


def kinds_of(only: Sequence[str] | None) -> list[Kind]:
    """Return the kinds of stores that --only names, or all."""
    from mjctl.models.backup import Kind

    return [Kind(part) for part in only] if only else list(Kind)


def records(progress: Progress, label: str) -> Callable[[str, int], None]:
    """Add a line of progress. Returns the callback that counts records, whatever the part they belong to.

    Totals are not known: to count them would read everything once more.
    """
    add = progress.counter(label)
    return lambda _part, count: add(count)
