"""Runs the slow work of a part of the stage in the background, and ends processes of an earlier stage."""

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
    """Runs a function in a thread, at most once at the same time.

    A part of the stage that starts servers must not do so in `look`, because the looks of all parts share one thread.
    """

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        """Create the object without starting a thread. `name` names the threads and the messages of the log."""
        self._name = name
        self._function = function
        self._busy = threading.Lock()
        self._closed = False

    def request(self) -> None:
        """Run the function in a new thread, unless it runs already or `close` was called."""
        if not self._closed and self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, daemon=True, name=self._name).start()

    def close(self) -> None:
        """Wait for the end of the running function, and run it no more."""
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
    """Return the private folder for the Unix sockets of a stage, whose short path no other running stage has."""
    folder = private_runtime_dir() / f"stage-{addresses.network}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def end_processes_in(folder: Path) -> None:
    """Kill the processes whose working folder is `folder`, and wait for their end.

    A killed ministack leaves its servers running. A second server on the same files would damage them.
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
