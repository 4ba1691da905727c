"""Ends the processes that a pytest process leaves behind when it dies, even by SIGKILL.

Tests start real services, as children and as daemons. A pytest that ends in order stops the services through its
fixtures. A pytest that is killed (SIGKILL, out of memory, pytest-timeout's `os._exit`) cannot stop the services.
Each pytest process, and each worker of pytest-xdist, therefore starts a watcher process that reads a pipe from the
pytest process. The pipe closes when the pytest process ends. When the pipe closes, the watcher ends two kinds of
processes and all their descendants:

- processes with the variable `PYTEST_GUARD=<token>` in their environment, which children inherit;
- processes with a path below pytest's temporary folder in their environment. `mjctl` starts the programs of a region
  with a clean environment that contains `MJCTL_REGION_DIR`.

After an orderly end of pytest, the watcher finds no process, because the fixtures have stopped all services.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

VARIABLE = "PYTEST_GUARD"
_PATIENCE_SECONDS = 5.0
_LIMIT_SECONDS = 30.0


class Guard:
    """Starts the watcher of this process. The pipe to the watcher closes when this process ends."""

    def __init__(self) -> None:
        token = secrets.token_hex(8)
        os.environ[VARIABLE] = token
        # The watcher gets a separate session, so that Ctrl-C or a kill of the process group does not reach it.
        self._watcher = subprocess.Popen(
            [sys.executable, __file__, token], stdin=subprocess.PIPE, start_new_session=True, env=_bare_environment()
        )

    def cover(self, folder: Path) -> None:
        """Make the watcher also end the processes that name a path below `folder` in their environment."""
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(f"{folder}/\n".encode())
        self._watcher.stdin.flush()

    def close(self) -> None:
        """Make the watcher end all marked processes now, and wait until the watcher exits."""
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        self._watcher.wait(_LIMIT_SECONDS + 10)


def processes_with(marks: list[bytes]) -> list[psutil.Process]:
    """Return the running processes that have one of `marks` in their environment, with all their descendants."""
    processes: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        # The watcher cannot read the environment of another user's process. A zombie process has no environment.
        with suppress(psutil.Error, OSError):
            if any(mark in variable for variable in _variables(process) for mark in marks):
                processes.update({child.pid: child for child in (process, *process.children(recursive=True))})
    processes.pop(os.getpid(), None)
    return list(processes.values())


def end(marks: list[bytes]) -> None:
    """End the processes that have one of `marks` in their environment: with SIGTERM, and with SIGKILL if they survive.
    Repeat this for at most 30 seconds, until no process with one of `marks` is left."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    signalled: set[int] = set()
    while (processes := processes_with(marks)) and time.monotonic() < deadline:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                # PostgreSQL waits for its clients after SIGTERM. A stopped process handles a signal only after SIGCONT.
                orderly = signal.SIGINT if process.name() == "postgres" else signal.SIGTERM
                process.send_signal(signal.SIGKILL if process.pid in signalled else orderly)
                process.send_signal(signal.SIGCONT)
        signalled.update(process.pid for process in processes)
        psutil.wait_procs(processes, timeout=_PATIENCE_SECONDS)


def _variables(process: psutil.Process) -> list[bytes]:
    # PWD and OLDPWD do not count: a shell that a developer has opened in the temporary folder is not a service.
    return [f"{name}={value}".encode() for name, value in process.environ().items() if name not in ("PWD", "OLDPWD")]


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != VARIABLE}


def _watch(token: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folders = [line.rstrip(b"\n") for line in sys.stdin.buffer]
    end([f"{VARIABLE}={token}".encode(), *folders])


if __name__ == "__main__":
    _watch(sys.argv[1])
