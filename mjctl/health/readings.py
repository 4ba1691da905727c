"""Compares growing counters with their values in the last run of `mjctl health` on this machine."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from mjctl.files import read_json, replacing

_FILE = "health-readings.json"


def since_last(private_dir: Path, name: str, value: int) -> int | None:
    """Return how much a counter has grown since the last run, and keep `value` for the next run.

    A counter that is smaller than in the last run was reset by a restart of its service, so that its growth is `value`.

    Args:
        private_dir: the region's private folder. If the folder cannot be written, every run is a first run.
        name: name of the counter.
        value: current value of the counter.

    Returns:
        The growth since the last run. None on the first run, because a counter does not show when it has grown.
    """
    path = private_dir / _FILE
    readings = read_json(path)
    before = readings.get(name)
    _keep(path, {**readings, name: value})
    if not isinstance(before, int):
        return None
    return value - before if value >= before else value


def evictions_in_words(total: int, since: int | None) -> str:
    """Return a phrase with the number of keys that Redis has evicted.

    Args:
        total: evicted keys since Redis' start.
        since: evicted keys since the last run of `mjctl health`; None if that is not known.
    """
    if since is None:
        return f"{total} keys evicted since its start"
    return f"{since} keys evicted since the last health run"


def _keep(path: Path, readings: dict[str, object]) -> None:
    # A check must not fail because the value cannot be stored for the next run.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(json.dumps(readings).encode())
