"""Processes of a region that outlived their supervisor: found by a mark in their environment, and ended.

The mark needs no file that could be out of date or lost, and no other process can carry it by accident.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SUPERVISOR = "supervisord"

_MARK = "MJCTL_REGION_DIR"
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Leftover:
    """`name` is the program's name, or SUPERVISOR."""

    name: str
    process: psutil.Process


def mark(region_dir: Path) -> dict[str, str]:
    """Variables for the supervisor of a region; all it starts inherits them."""
    return {_MARK: str(region_dir.resolve())}


def find(region_dir: Path) -> list[Leftover]:
    """Every process of the region that runs now, the supervisor's own included. Costs about 0.1 ms a process."""
    import psutil

    wanted = str(region_dir.resolve())
    found = []
    for process in psutil.process_iter():
        # Another user's environment cannot be read, nor that of a process that ends meanwhile; a zombie has none.
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(_MARK) == wanted:
                found.append(Leftover(environment.get("SUPERVISOR_PROCESS_NAME", SUPERVISOR), process))
    return found


def end(region_dir: Path, name: str | None = None) -> list[str]:
    """End the region's processes (all, or those of one program), orderly if they can, and return their names.

    For use when the supervisor is dead, or no longer answers: while it lives it would start them again.
    """
    import psutil

    left = [leftover for leftover in find(region_dir) if name in (None, leftover.name)]
    for leftover in left:
        with suppress(psutil.NoSuchProcess):
            if leftover.name == SUPERVISOR:
                leftover.process.kill()
            else:
                # PostgreSQL takes SIGTERM as a wish to end once every client has left.
                leftover.process.send_signal(signal.SIGINT if leftover.name == "postgres" else signal.SIGTERM)
                # One that is stopped handles the signal only once it goes on.
                leftover.process.send_signal(signal.SIGCONT)
    _, stubborn = psutil.wait_procs([leftover.process for leftover in left], timeout=_PATIENCE_SECONDS)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_PATIENCE_SECONDS)
    return sorted({leftover.name for leftover in left})


def is_running(pid: int) -> bool:
    """Whether `pid` runs; one that has ended and was not yet collected does not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
