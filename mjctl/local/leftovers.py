"""Processes that outlived their supervisor: recorded while it lived, ended when the region is started or destroyed."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mjctl.local.layout import Layout, read_json, write_private

if TYPE_CHECKING:
    import psutil

_TERMINATE_SECONDS = 5.0
# psutil derives the creation time from clock ticks since boot; two readings can differ by one tick.
_SAME_TIME_SECONDS = 0.05


def record(layout: Layout, name: str, pid: int) -> None:
    """Remember that `name` runs as `pid`. The creation time tells it from a later process with the same number."""
    import psutil

    with suppress(psutil.NoSuchProcess, FileNotFoundError):
        created = psutil.Process(pid).create_time()
        write_private(layout.pids / f"{name}.json", json.dumps({"pid": pid, "created": created}))


def alive(layout: Layout) -> set[str]:
    """Names of the recorded processes that still run."""
    return {path.stem for path in _records(layout) if _still_running(read_json(path)) is not None}


def end(layout: Layout, name: str | None = None) -> list[str]:
    """End the recorded processes that still run (all, or the one named), first by SIGTERM.

    For use when the supervisor is dead: while it lives it would start them again. Returns the names of those ended.
    """
    paths = [layout.pids / f"{name}.json"] if name else _records(layout)
    left = {path.stem: process for path in paths if (process := _still_running(read_json(path))) is not None}
    if left:
        import psutil

        for process in left.values():
            _signal_group(process, signal.SIGTERM)
        _, stubborn = psutil.wait_procs(list(left.values()), timeout=_TERMINATE_SECONDS)
        for process in stubborn:
            _signal_group(process, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=_TERMINATE_SECONDS)
    for path in paths:
        path.unlink(missing_ok=True)
    return list(left)


def _records(layout: Layout) -> list[Path]:
    return sorted(layout.pids.glob("[!.]*.json"))


def _still_running(values: dict[str, object]) -> psutil.Process | None:
    pid, created = values.get("pid"), values.get("created")
    if not isinstance(pid, int) or not isinstance(created, float):
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < _SAME_TIME_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _signal_group(process: psutil.Process, number: signal.Signals) -> None:
    """supervisord makes each program the leader of a group of its own; its children go with it."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        # A stopped process handles SIGTERM only once it goes on.
        os.kill(process.pid, signal.SIGCONT)
