"""Computes how much a counter has grown since the last run of `mjctl health` on this machine."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from mjctl.files import read_json, replacing

_FILE = "health-readings.json"


def since_last(private_dir: Path, name: str, value: int) -> int | None:
    """Return how much a counter has grown since the last run of `mjctl health`, and store `value` for the next run.

    A counter that is smaller than in the last run was reset by a restart of its service, so the counter has grown by
    `value`.

    Args:
        private_dir: the region's private folder, which stores the counters. Without a stored counter, a run counts as
            the first run.
        name: name of the counter.
        value: current value of the counter.

    Returns:
        The growth of the counter since the last run, or None on the first run, because a counter does not show when it
        has grown.
    """
    path = private_dir / _FILE
    readings = read_json(path)
    before = readings.get(name)
    _keep(path, {**readings, name: value})
    if not isinstance(before, int):
        return None
    return value - before if value >= before else value


def evictions_in_words(total: int, since: int | None) -> str:
    """Return a phrase for the operator with the number of keys that Redis has evicted.

    Args:
        total: number of keys that Redis has evicted since its start.
        since: number of keys that Redis has evicted since the last run of `mjctl health`, or None if it is unknown.
    """
    if since is None:
        return f"{total} keys evicted since its start"
    return f"{since} keys evicted since the last health run"


def _keep(path: Path, readings: dict[str, object]) -> None:
    # Ignore an error of the disk, because a check must not fail if a counter cannot be stored for the next run.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(json.dumps(readings).encode())
