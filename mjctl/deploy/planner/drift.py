"""Which drift counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mjctl.models.deployment import UnitOutcome, UnitResult


def ignore_expected_drift(result: UnitResult, ignore: Sequence[str]) -> UnitResult:
    """Set aside the changes whose address fits one of the globs. A region with no others has not drifted."""
    fits = [_glob(pattern) for pattern in ignore]
    ignored = tuple(one for one in result.changes if any(fit.fullmatch(one.address) for fit in fits))
    if not ignored:
        return result
    left = tuple(one for one in result.changes if one not in ignored)
    outcome = UnitOutcome.UNCHANGED if result.outcome is UnitOutcome.PLANNED and not left else result.outcome
    return replace(
        result,
        outcome=outcome,
        changes=left,
        ignored=ignored,
        add=sum(one.action in ("create", "replace") for one in left),
        change=sum(one.action == "update" for one in left),
        remove=sum(one.action in ("delete", "replace") for one in left),
    )


def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` only: an address has brackets of its own (`module.game_server["a"]`), which fnmatch would read."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))
