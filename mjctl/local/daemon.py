"""Starting and ending the supervisor of one region."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from mjctl.files import read_json, write_private
from mjctl.local import leftovers
from mjctl.local.layout import Layout, socket_path
from mjctl.local.supervisor import WATCHDOG, SupervisorClient
from mjctl.local.supervisord_config import supervisor_config, write_config
from mjctl.models.errors import DependencyError, PermissionDeniedError, UnreachableError

_START_SECONDS = 60.0
# More than the longest that any program is given to stop.
_STOP_SECONDS = 40.0
# macOS says that there is no hard limit and then refuses more than this (OPEN_MAX).
_OPEN_FILES = 10_240 if sys.platform == "darwin" else 65_536
# What the programs inherit from the shell. Nothing else: credentials and AWS profiles of the user stay out.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")


def connect(layout: Layout, *, timeout_seconds: float = 60.0) -> SupervisorClient:
    """A client for the region's supervisor, wherever it was started to listen; it may not be alive."""
    recorded = read_json(layout.supervisor_record).get("socket")
    path = Path(recorded) if isinstance(recorded, str) else socket_path(layout.region_dir)
    return SupervisorClient(path, scope=layout.scope, timeout_seconds=timeout_seconds)


def living(layout: Layout) -> SupervisorClient | None:
    """The client if the supervisor answers within two seconds, else None."""
    client = connect(layout, timeout_seconds=2.0)
    try:
        client.pid()
    except UnreachableError:
        return None
    return connect(layout)


def base_environment() -> dict[str, str]:
    """The environment that every process of the region starts from."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1"}


def start(layout: Layout, owner: str) -> str:
    """Make the region's supervisor run for `owner`. Returns one line about what was done.

    One that is alive is adopted with the programs it has. Otherwise what an earlier one left behind is ended first,
    and the new one begins with no program but the watchdog.

    Raises:
        DependencyError: the package `supervisor` is not installed.
        PermissionDeniedError: a folder cannot be made.
        UnreachableError: it did not come up.
    """
    layout.create()
    client = living(layout)
    if client is not None and layout.supervisor_config.exists():
        socket = client.socket_path
        if read_json(layout.supervisor_record).get("owner") != owner:
            client.restart(WATCHDOG)
        done = "supervisor: already running"
    else:
        # One that lost its configuration cannot take up programs any more and is among those ended.
        ended = leftovers.end(layout.region_dir)
        for folder in (layout.program_configs, layout.programs):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        socket = socket_path(layout.region_dir)
        _spawn(layout, socket)
        client = SupervisorClient(socket, scope=layout.scope)
        done = "supervisor: running"
        if ended:
            done += f", after ending what was left of an earlier one: {', '.join(ended)}"
    record = {"owner": owner, "socket": str(socket), "pid": client.pid()}
    write_private(layout.supervisor_record, json.dumps(record))
    return done


def stop(layout: Layout, owner: str | None = None) -> str:
    """End the supervisor with every program, and remove the region's data, secrets and run-time files; logs stay.

    Nothing happens when `owner` is given and another resource owns it by now. One that is dead is no error.
    """
    if owner is not None and read_json(layout.supervisor_record).get("owner", owner) != owner:
        return "supervisor: kept, it belongs to its replacement"
    client = living(layout)
    if client is not None:
        pid = client.pid()
        client.shutdown()
        _await_end(pid)
        client.socket_path.unlink(missing_ok=True)
    leftovers.end(layout.region_dir)
    for folder in (layout.run, layout.data, layout.secrets):
        _remove(folder)
    return "supervisor: ended, data removed"


def _spawn(layout: Layout, socket: Path) -> None:
    if find_spec("supervisor") is None:
        raise DependencyError(
            "the package `supervisor` is not installed",
            where=sys.executable,
            hint="pip install 'mjctl[local]'",
        )
    socket.unlink(missing_ok=True)
    write_private(layout.supervisor_base_config, supervisor_config(layout, socket, _open_files()))
    write_config(layout)
    # It opens its socket, leaves for a session of its own (Ctrl-C at the terminal must not reach it) and then returns.
    result = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.supervisor_config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=layout.region_dir,
        env={**base_environment(), **leftovers.mark(layout.region_dir)},
        timeout=_START_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        last = result.stdout.strip().splitlines()[-3:]
        raise UnreachableError(
            "the region's supervisor did not come up" + "".join(f"\n  | {line}" for line in last),
            where=str(layout.supervisor_config),
            hint=f"see {layout.log('supervisord')}",
        )


def _open_files() -> int:
    """As many as the hard limit grants, for thousands of players per server."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)


def _await_end(pid: int) -> None:
    """Wait until the supervisor has ended, which is after its programs have, but not for ever."""
    deadline = time.monotonic() + _STOP_SECONDS
    while leftovers.is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PermissionDeniedError(
            f"the folder cannot be removed: {error.strerror}", where=str(error.filename or folder)
        ) from None
