"""Starts and stops the supervisor of a local region."""

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
# The time limit for the end of the supervisor is longer than the stop time of any program, because the supervisor ends
# after its programs.
_STOP_SECONDS = 40.0
# macOS reports an infinite hard limit of open files, but refuses a limit above OPEN_MAX, which is 10240.
_OPEN_FILES = 10_240 if sys.platform == "darwin" else 65_536
# The environment variables that the programs of a region inherit from the shell, none of which is an AWS variable.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")


def connect(layout: Layout, *, timeout_seconds: float = 60.0) -> SupervisorClient:
    """Return a client for the region's supervisor, for the socket that the last start of a supervisor recorded.

    `connect` does not check that the supervisor runs.
    """
    recorded = read_json(layout.supervisor_record).get("socket")
    path = Path(recorded) if isinstance(recorded, str) else socket_path(layout.region_dir)
    return SupervisorClient(path, scope=layout.scope, timeout_seconds=timeout_seconds)


def living(layout: Layout) -> SupervisorClient | None:
    """Return a client for the region's supervisor, or None if the supervisor does not answer within two seconds."""
    client = connect(layout, timeout_seconds=2.0)
    try:
        client.pid()
    except UnreachableError:
        return None
    return connect(layout)


def base_environment() -> dict[str, str]:
    """Return the environment variables that every process of a region receives."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1"}


def start(layout: Layout, owner: str) -> str:
    """Start the region's supervisor, or adopt a running supervisor with its programs.

    Before a new supervisor starts, mjctl stops the processes that an earlier supervisor left. A new supervisor runs no
    program except the watchdog.

    Args:
        layout: The folders of the region.
        owner: The id of the Terraform resource to which the supervisor belongs from now on.

    Returns:
        A line for people that says what was done, e.g. `supervisor: running`.

    Raises:
        DependencyError: the package `supervisor` is not installed.
        PermissionDeniedError: a folder cannot be created.
        UnreachableError: the supervisor did not start.
    """
    layout.create()
    client = living(layout)
    if client is not None and layout.supervisor_config.exists():
        socket = client.socket_path
        if read_json(layout.supervisor_record).get("owner") != owner:
            client.restart(WATCHDOG)
        done = "supervisor: already running"
    else:
        # Also stop a running supervisor whose configuration file is missing, because such a supervisor cannot add
        # programs any more.
        ended = leftovers.end(layout.region_dir)
        for folder in (layout.program_configs, layout.programs):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        socket = socket_path(layout.region_dir)
        _spawn(layout, socket)
        client = SupervisorClient(socket, scope=layout.scope)
        done = "supervisor: running"
        if ended:
            done += f", after stopping processes of an earlier supervisor: {', '.join(ended)}"
    record = {"owner": owner, "socket": str(socket), "pid": client.pid()}
    write_private(layout.supervisor_record, json.dumps(record))
    return done


def stop(layout: Layout, owner: str | None = None) -> str:
    """Stop the supervisor and its programs, and remove the region's data, secrets and run-time files.

    The logs of the region are kept.

    A supervisor that is not running is no error.

    Args:
        layout: The folders of the region.
        owner: The id of a Terraform resource: if the supervisor belongs to another resource, `stop` stops and removes
            nothing. With None as `owner`, `stop` stops the supervisor of any resource.

    Returns:
        A line for people that says what was done, e.g. `supervisor: stopped, data removed`.

    Raises:
        PermissionDeniedError: a folder cannot be removed.
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
    return "supervisor: stopped, data removed"


def _spawn(layout: Layout, socket: Path) -> None:
    if find_spec("supervisor") is None:
        raise DependencyError(
            "the package `supervisor` is not installed",
            where=sys.executable,
            hint="run in the checkout: pip install --editable '.[local]'",
        )
    socket.unlink(missing_ok=True)
    write_private(layout.supervisor_base_config, supervisor_config(layout, socket, _open_files()))
    write_config(layout)
    # The command supervisord ends when the supervisor's socket is open. The supervisor continues in its own session,
    # which Ctrl-C does not reach.
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
            "the region's supervisor did not start" + "".join(f"\n  | {line}" for line in last),
            where=str(layout.supervisor_config),
            hint=f"see {layout.log('supervisord')}",
        )


def _open_files() -> int:
    """Return the limit of open files for a region's programs: up to 65536, for thousands of players on a server."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)


def _await_end(pid: int) -> None:
    """Wait until the supervisor has ended, for 40 seconds at most. The supervisor ends after all of its programs."""
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
