"""Runs slow work of the stage in background threads, and ends processes that an earlier run of the stage has left."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mjctl.local.layout import private_runtime_dir
from mjctl.sandbox.stage.addresses import Addresses

_END_SECONDS = 10.0

logger = logging.getLogger("mjctl.sandbox.stage")


class Rounds:
    """Runs a function in a thread. The function never runs in two threads at the same time.

    A part of the stage must not start servers in its method `look`, because one thread calls `look` of all parts.
    """

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        """Create the object without starting a thread. `name` names the threads and the messages of the log."""
        self._name = name
        self._function = function
        self._busy = threading.Lock()
        self._closed = False

    def request(self) -> None:
        """Run the function in a new thread, unless the function runs already or `close` was called."""
        if not self._closed and self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, daemon=True, name=self._name).start()

    def close(self) -> None:
        """Wait until the running function has ended, and ignore later requests."""
        self._closed = True
        with self._busy:
            return

    def _run(self) -> None:
        try:
            if not self._closed:
                self._function()
        except Exception:
            logger.exception("%s failed", self._name)
        finally:
            self._busy.release()


def socket_folder(addresses: Addresses) -> Path:
    """Return the private folder for a stage's Unix sockets. The path is short, and no other running stage uses it."""
    folder = private_runtime_dir() / f"stage-{addresses.network}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def end_processes_in(folder: Path) -> None:
    """Kill the processes whose working folder is `folder`, and wait until these processes have ended.

    If ministack is killed, the servers that it has started keep running. A second server that uses the same files would
    damage the files.
    """
    deadline = time.monotonic() + _END_SECONDS
    while (remaining := _processes_in(folder)) and time.monotonic() < deadline:
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _processes_in(folder: Path) -> list[int]:
    import psutil

    wanted = str(folder.resolve())
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.cwd() == wanted and process.status() != psutil.STATUS_ZOMBIE:
                pids.append(process.pid)
    return pids
