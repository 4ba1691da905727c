"""Removes expected drift from the result of a drift check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mjctl.models.deployment import UnitOutcome, UnitResult


def ignore_expected_drift(result: UnitResult, ignore: Sequence[str]) -> UnitResult:
    """Move the changes of resources whose address matches a glob from `result.changes` to `result.ignored`.

    If no change remains in `result.changes`, the unit gets the outcome UNCHANGED.

    Args:
        result: The result of the unit's drift check.
        ignore: Globs with `*` and `?`, each of which must match the whole address of a resource.
    """
    patterns = [_glob(glob) for glob in ignore]
    ignored = tuple(change for change in result.changes if any(item.fullmatch(change.address) for item in patterns))
    if not ignored:
        return result
    remaining = tuple(change for change in result.changes if change not in ignored)
    outcome = UnitOutcome.UNCHANGED if result.outcome is UnitOutcome.PLANNED and not remaining else result.outcome
    return replace(
        result,
        outcome=outcome,
        changes=remaining,
        ignored=ignored,
        add=sum(change.action in ("create", "replace") for change in remaining),
        change=sum(change.action == "update" for change in remaining),
        remove=sum(change.action in ("delete", "replace") for change in remaining),
    )


def _glob(glob: str) -> re.Pattern[str]:
    """Return the regular expression of a glob with `*` and `?`.

    The function does not use fnmatch, because fnmatch would interpret the brackets of an address such as
    `module.game_server["a"]`.
    """
    return re.compile(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."))
