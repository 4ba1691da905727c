"""Recognises the processes of a stage by an environment variable, so that mjctl can end these processes after a crash.

The stage runs in the process of ministack, an emulator of AWS. If ministack is killed, the processes that the stage has
started keep running. A recorded pid does not identify such a process, because the operating system may have given the
pid to another process since then.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_END_SECONDS = 10.0

VARIABLE = "MJCTL_STAGE"
"""Name of the environment variable of every process that a stage starts."""


def mark(folder: Path) -> str:
    """Return the value of `VARIABLE` for the stage in `folder`."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]


def processes(folder: Path) -> list[psutil.Process]:
    """List the running processes that the stage in `folder` has started."""
    import psutil

    wanted = mark(folder)
    running = []
    for process in psutil.process_iter():
        # psutil raises an error for a zombie, and for a process whose environment this user may not read.
        with suppress(psutil.Error, OSError):
            if process.environ().get(VARIABLE) == wanted:
                running.append(process)
    return running


def kill(folder: Path) -> None:
    """Kill the processes that an earlier run of the stage in `folder` has left, and wait until they have ended.

    Two database servers that use the same data files at the same time would damage the files.
    """
    import psutil

    running = processes(folder)
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(running, _END_SECONDS)
