"""Planned changes on a terminal: attributes with old and new values, folded for a module with many changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mjctl.cli.output.changes import by_module, by_type, counts, head, in_order, shown_attributes, values, why
from mjctl.models.deployment import Change, UnitResult

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

_STYLE = {"create": "green", "update": "yellow", "replace": "red", "delete": "red", "forget": "magenta"}
# Largest number of lines for the changes of a module. A module whose changes need more lines is shown with fewer
# attributes, and with a count in place of several new resources.
_MODULE_LINES = 24
_FOLDED_ATTRIBUTES = 4
_LONGEST_VALUES = 240


class PlanView:
    """Renders planned changes, region by region."""

    def __init__(self, results: Sequence[UnitResult], *, brief: bool = False) -> None:
        """Prepare the view.

        Args:
            results: The results of the plans. Units without changes are not shown.
            brief: Show one line for each resource, without values and without folding.
        """
        self._results = [result for result in results if result.changes]
        self._brief = brief

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        from mjctl.cli.output.tables import whole_line

        for result in self._results:
            yield whole_line((f"{result.unit}: {counts(result.changes)}", "bold"))
            changes = in_order(result.changes)
            if self._brief:
                yield from map(_head, changes)
                continue
            for module, group in by_module(changes):
                yield from _module(module, group, options.max_width)

    @property
    def empty(self) -> bool:
        """Return whether no unit has changes."""
        return not self._results


def _module(module: str, changes: Sequence[Change], width: int) -> Iterator[Text]:
    from mjctl.cli.output.tables import whole_line

    blocks = [_block(change, width) for change in changes]
    if sum(map(len, blocks)) <= _MODULE_LINES:
        for block in blocks:
            yield from block
        return
    created = [change for change in changes if change.action in ("create", "read")]
    for change in changes:
        if change not in created:
            yield from _block(change, width, _FOLDED_ATTRIBUTES)
    if len(created) == 1:
        yield from _block(created[0], width, _FOLDED_ATTRIBUTES)
    elif created:
        where = f" in {module}" if module else ""
        yield whole_line("  ", (f"{counts(created)}{where}: {by_type(created)}", "green"))
        yield whole_line("      ", ("--brief lists the names, --output json has every value", "dim"))


def _head(change: Change) -> Text:
    from mjctl.cli.output.tables import whole_line

    return whole_line("  ", (head(change), _STYLE.get(change.action, "")))


def _block(change: Change, width: int, most: int | None = None) -> list[Text]:
    from mjctl.cli.output.tables import whole_line

    lines = [_head(change)]
    if reason := why(change):
        lines.append(whole_line(f"      {reason}"))
    attributes = shown_attributes(change)
    for name, attribute in attributes[:most]:
        room = min(_LONGEST_VALUES, max(24, width - len(name) - 8))
        lines.append(whole_line("      ", (f"{name}: ", "dim"), values(attribute, room)))
    if most is not None and len(attributes) > most:
        lines.append(whole_line("      ", (f"and {len(attributes) - most} more attributes", "dim")))
    return lines
