"""Counters that only grow, compared with what the last run of `mjctl health` on this machine read."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from mjctl.files import read_json, replacing

_FILE = "health-readings.json"


def since_last(private_dir: Path, name: str, value: int) -> int | None:
    """Return how much a counter has grown since the last run, and keep `value` for the next one.

    A counter that has fallen was reset by a restart of its service: all of it is new.

    Args:
        private_dir: The region's private folder. If it cannot be written, every run is a first run.

    Returns:
        None on the first run: nobody can say whether the growth is of today or of last year.
    """
    path = private_dir / _FILE
    readings = read_json(path)
    before = readings.get(name)
    _keep(path, {**readings, name: value})
    if not isinstance(before, int):
        return None
    return value - before if value >= before else value


def evictions_in_words(total: int, since: int | None) -> str:
    """Say how many keys Redis has evicted, for people."""
    if since is None:
        return f"{total} evicted since its start"
    return f"{since} evicted since the last look"


def _keep(path: Path, readings: dict[str, object]) -> None:
    # A check must not fail because its reading cannot be kept for the next run.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(json.dumps(readings).encode())
