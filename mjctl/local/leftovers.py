"""Finds and stops processes of a region that run although their supervisor has ended.

The environment variable MJCTL_REGION_DIR marks each process of a region, because a list of processes in a file could be
lost or out of date. No process of another program has the variable MJCTL_REGION_DIR by accident.
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
    """Names a process of a region.

    Attributes:
        name: The program's name in the supervisor, or `SUPERVISOR` for the supervisor itself.
        process: The process.
    """

    name: str
    process: psutil.Process


def mark(region_dir: Path) -> dict[str, str]:
    """Return the environment variables that mark the supervisor of a region.

    All programs of the supervisor inherit its environment variables.
    """
    return {_MARK: str(region_dir.resolve())}


def find(region_dir: Path) -> list[Leftover]:
    """List the running processes of the region, including the supervisor.

    The search takes about 0.1 ms per process of the machine.
    """
    import psutil

    wanted = str(region_dir.resolve())
    leftovers = []
    for process in psutil.process_iter():
        # Skip a process whose environment cannot be read: another user's process, a zombie, or a process that ends now.
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(_MARK) == wanted:
                leftovers.append(Leftover(environment.get("SUPERVISOR_PROCESS_NAME", SUPERVISOR), process))
    return leftovers


def end(region_dir: Path, name: str | None = None) -> list[str]:
    """Stop the region's processes and return their names. A process that does not end within 5 seconds is killed.

    Use `end` only if the region's supervisor has ended or does not answer. A running supervisor would restart the
    stopped processes.

    Args:
        region_dir: The folder of the region.
        name: The program whose processes are stopped; None to stop all programs and the supervisor.
    """
    import psutil

    left = [leftover for leftover in find(region_dir) if name in (None, leftover.name)]
    for leftover in left:
        with suppress(psutil.NoSuchProcess):
            if leftover.name == SUPERVISOR:
                leftover.process.kill()
            else:
                # After SIGTERM, PostgreSQL waits until every client has left. After SIGINT, PostgreSQL ends at once,
                # cleanly.
                leftover.process.send_signal(signal.SIGINT if leftover.name == "postgres" else signal.SIGTERM)
                # A process that SIGSTOP has stopped handles another signal only after SIGCONT.
                leftover.process.send_signal(signal.SIGCONT)
    _, stubborn = psutil.wait_procs([leftover.process for leftover in left], timeout=_PATIENCE_SECONDS)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_PATIENCE_SECONDS)
    return sorted({leftover.name for leftover in left})


def is_running(pid: int) -> bool:
    """Return whether the process `pid` runs. A zombie does not run."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
