"""Starts and stops the sandbox of an environment: two emulators that continue to run after `mjctl` has ended.

The emulators save their states while they run, so that the state survives a stop, a kill and a restart of the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mjctl.files import file_lock, read_json, write_private
from mjctl.local.credentials import ensure_aws_key, read_aws_key
from mjctl.local.ports import candidates, is_free
from mjctl.models.errors import ConflictError, DependencyError, PermissionDeniedError, UnreachableError
from mjctl.sandbox.emulators import ACCOUNT_ID, endpoint_variables
from mjctl.sandbox.stage import leftovers
from mjctl.sandbox.stage import names as stage_names

if TYPE_CHECKING:
    import psutil

NAMES = ("ministack", "moto")

# Environment variable that marks a process as an emulator of a sandbox. The process id in the sandbox's record does not
# identify an emulator: after the end of the emulator, the operating system may give the id to another process.
_MARK = "MJCTL_SANDBOX"
_START_SECONDS = 60.0
# mjctl waits this time for the end of an emulator after SIGTERM, because ministack saves its whole state before it
# ends.
_STOP_SECONDS = 60.0
# The only environment variables that the emulators inherit from the shell, so that an emulator never uses the user's
# AWS credentials or profiles.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")


@dataclass(frozen=True)
class EmulatorProcess:
    """Describes a running emulator.

    Attributes:
        name: `ministack` or `moto`.
        version: The release of the emulator.
        pid: The process id of the emulator.
        port: The TCP port of the emulator on 127.0.0.1.
        started_at: The time at which the process started, in seconds since 1970.
        log: The path of the emulator's log file.
    """

    name: str
    version: str
    pid: int
    port: int
    started_at: float
    log: str

    @property
    def url(self) -> str:
        """Return the emulator's address."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class RunningSandbox:
    """Describes a running sandbox.

    Attributes:
        account_id: The AWS account that the emulators emulate.
        emulators: The running emulators, in the order of `NAMES`.
        key_file: The path of the file with the emulators' access key.
        stage_folder: The folder of the stage's files, or None if the sandbox has no stage.
    """

    account_id: str
    emulators: tuple[EmulatorProcess, ...]
    key_file: str
    stage_folder: str | None = None

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Return the environment variables with which an AWS SDK or the Terraform provider uses the emulators."""
        urls = {emulator.name: emulator.url for emulator in self.emulators}
        return {**endpoint_variables(urls), **ensure_aws_key(Path(self.key_file)).variables}

    def url(self, emulator: str) -> str:
        """Return the address of the emulator `ministack` or `moto`."""
        return next(process.url for process in self.emulators if process.name == emulator)


@dataclass(frozen=True)
class Started:
    """Holds the result of a start of the sandbox.

    Attributes:
        sandbox: The sandbox that runs after the start.
        began: The names of the emulators that `start` started. Emulators that `began` does not name ran already.
        kept: True if an emulator that `start` started had a saved state.
        unread: The release of moto that saved a state that the installed release cannot read, or None if
            there is no such state.
        obstacle: The reason why the sandbox has no stage, with a remedy, or None if the sandbox has a stage.
    """

    sandbox: RunningSandbox
    began: tuple[str, ...]
    kept: bool
    unread: str | None
    obstacle: str | None


def running(folder: Path) -> RunningSandbox | None:
    """Return the running sandbox of an environment, or None if the sandbox does not run.

    A sandbox runs if all its emulators run and require an access key.

    Args:
        folder: The environment's folder (`Workspace.environment_dir`).
    """
    alive = alive_emulators(folder)
    if len(alive) < len(NAMES) or not _asks_for_key(folder):
        return None
    return _sandbox(folder, alive)


def alive_emulators(folder: Path) -> dict[str, EmulatorProcess]:
    """Return the emulators of the sandbox whose processes run, by name."""
    alive = {}
    for name, entry in _record(folder).get("emulators", {}).items():
        with suppress(TypeError, KeyError):
            emulator = EmulatorProcess(**entry)
            if name in NAMES and _is_ours(emulator.pid, folder):
                alive[name] = emulator
    return alive


def start(folder: Path, *, account_id: str = ACCOUNT_ID) -> Started:
    """Start those emulators of the sandbox that do not run, with their saved states.

    Args:
        folder: The environment's folder (`Workspace.environment_dir`).
        account_id: The AWS account to emulate.

    Raises:
        DependencyError: an emulator is not installed.
        ConflictError: the running sandbox emulates another account than `account_id`, or no port is free.
        PermissionDeniedError: this user cannot create the sandbox's folder.
        UnreachableError: an emulator did not start. The error names the log of the emulator.
    """
    _check_installed()
    with _locked(folder):
        if not _asks_for_key(folder):
            # An earlier version of mjctl started emulators that require no access key. Stop emulators without a
            # key. They save their states before they end.
            _end(process for _, process in _marked(folder))
        alive = alive_emulators(folder)
        runs_for = str(_record(folder).get("account_id", account_id))
        if alive and runs_for != account_id:
            raise ConflictError(
                f"the sandbox emulates account {runs_for}, and the environment's file now has account {account_id}",
                where=str(folder),
                hint="run `mjctl sandbox down --forget`, which deletes the sandbox's state, and then `mjctl sandbox "
                "up`",
            )
        missing = [name for name in NAMES if name not in alive]
        staged = _record(folder).get("stage_folder") if "ministack" in alive else None
        obstacle = None
        if "ministack" in missing:
            obstacle = stage_names.obstacle()
            staged = None if obstacle else str(stage_folder(folder))
        saved = _saved_version(folder, "moto")
        unread = saved if "moto" in missing and saved not in (None, version("moto")) else None
        kept = any((_state(folder, name) / "version").exists() for name in missing)
        # An earlier `mjctl sandbox up` that was killed may have started emulators without recording them. Stop the
        # unrecorded emulators.
        _end(process for name, process in _marked(folder) if name in missing)
        if "ministack" in missing:
            _end_stage(folder)
        ports = {name: alive[name].port if name in alive else _port(folder, name) for name in NAMES}
        try:
            for name in missing:
                alive[name] = _spawn(folder, name, account_id, ports, staged)
                _write_record(folder, account_id, alive, staged)
            for name in missing:
                _wait_until_up(alive[name])
        except BaseException:
            _end(process for name, process in _marked(folder) if name in missing)
            raise
    return Started(_sandbox(folder, alive), tuple(missing), kept, unread, obstacle)


def stop(folder: Path) -> tuple[str, ...]:
    """Stop the emulators of a sandbox, and return the names of the emulators that ran.

    The emulators save their states before they end.
    """
    if not folder.is_dir():
        return ()
    with _locked(folder):
        processes = _marked(folder)
        _end(process for _, process in processes)
        # ministack ends the processes of the stage when it ends, unless another program kills ministack.
        _end_stage(folder)
        _record_file(folder).unlink(missing_ok=True)
    return tuple(sorted({name for name, _ in processes}))


def forget(folder: Path) -> None:
    """Remove the saved states of a stopped sandbox, but keep its ports and logs."""
    shutil.rmtree(folder / "sandbox" / "state", ignore_errors=True)


def stage_folder(folder: Path) -> Path:
    """Return the folder of the stage's files, which `mjctl.sandbox.stage.layout` describes."""
    return _state(folder, "ministack") / "stage"


def log_file(folder: Path, emulator: str) -> Path:
    """Return the log file of the emulator `ministack` or `moto`."""
    return folder / "sandbox" / f"{emulator}.log"


def _check_installed() -> None:
    missing = [name for name in NAMES if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"the sandbox needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            where=sys.executable,
            hint="run in the checkout: pip install --editable '.[sandbox]'",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the sandbox's folder, so that two commands never start two emulators that write to one state."""
    try:
        (folder / "sandbox").mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionDeniedError(
            f"cannot create the folder of the sandbox: {error.strerror}",
            where=str(folder / "sandbox"),
            hint="make the parent folder writable, or set MJCTL_HOME to a folder that you own",
        ) from None
    with file_lock(folder / "sandbox" / "lock"):
        yield


def _spawn(
    folder: Path, name: str, account_id: str, ports: Mapping[str, int], stage_folder: str | None
) -> EmulatorProcess:
    import psutil

    port = ports[name]
    state = _state(folder, name)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(state / "version", version(name))
    log = log_file(folder, name)
    ensure_aws_key(_key_file(folder))
    options = ["--account", account_id, "--state", str(state), "--key", str(_key_file(folder)), "--detach", str(log)]
    if name == "ministack" and stage_folder is not None:
        options += ["--stage", stage_folder, "--releases", str(folder / "releases")]
        options += ["--moto", f"http://127.0.0.1:{ports['moto']}"]
    done = subprocess.run(
        [sys.executable, "-m", "mjctl.sandbox.serve", name, str(port), *options],
        env={
            **{variable: os.environ[variable] for variable in _INHERITED if variable in os.environ},
            "PYTHONUNBUFFERED": "1",
            _MARK: _mark(folder, name),
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise UnreachableError(f"{name} did not start: {done.stderr.strip()[-500:]}", where=str(log))
    pid = int(done.stdout)
    try:
        started_at = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        raise UnreachableError(
            f"{name} ended while it started",
            where=str(log),
            hint="`mjctl sandbox logs` shows the emulators' logs; "
            "`mjctl sandbox down --forget` deletes the saved states",
        ) from None
    return EmulatorProcess(name, version(name), pid, port, started_at, str(log))


def _wait_until_up(emulator: EmulatorProcess) -> None:
    import psutil

    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", emulator.port)) == 0:
                return
        if not psutil.pid_exists(emulator.pid):
            raise UnreachableError(
                f"{emulator.name} ended while it started",
                where=emulator.log,
                hint="`mjctl sandbox logs` shows the emulators' logs; "
                "`mjctl sandbox down --forget` deletes the saved states",
            )
        time.sleep(0.05)
    raise UnreachableError(
        f"{emulator.name} did not answer within {_START_SECONDS:.0f} s",
        where=emulator.log,
        hint="`mjctl sandbox logs` shows the emulators' logs",
    )


def _port(folder: Path, name: str) -> int:
    """Return the emulator's last port, or a free port if another process uses the last port."""
    file = folder / "sandbox" / "ports.json"
    ports = read_json(file)
    port = ports.get(name)
    if not isinstance(port, int) or not is_free(port):
        port = next((port for port in candidates(folder) if port not in ports.values() and is_free(port)), None)
    if port is None:
        raise ConflictError(
            f"no free port is left for {name}",
            where=str(folder),
            hint="destroy environments that you no longer use, and stop other sandboxes",
        )
    write_private(file, json.dumps({**ports, name: port}))
    return port


def _state(folder: Path, name: str) -> Path:
    return folder / "sandbox" / "state" / name


def _saved_version(folder: Path, name: str) -> str | None:
    with suppress(OSError):
        return (_state(folder, name) / "version").read_text(encoding="utf-8")
    return None


def _record_file(folder: Path) -> Path:
    return folder / "sandbox.json"


def _record(folder: Path) -> dict[str, Any]:
    return read_json(_record_file(folder))


def _key_file(folder: Path) -> Path:
    return folder / "sandbox" / "key.json"


def _asks_for_key(folder: Path) -> bool:
    """Return whether the recorded emulators require an access key."""
    return bool(_record(folder).get("asks_for_key")) and read_aws_key(_key_file(folder)) is not None


def _write_record(
    folder: Path, account_id: str, emulators: Mapping[str, EmulatorProcess], stage_folder: str | None
) -> None:
    entries = {name: asdict(emulator) for name, emulator in emulators.items()}
    record = {"account_id": account_id, "asks_for_key": True, "emulators": entries, "stage_folder": stage_folder}
    write_private(_record_file(folder), json.dumps(record, indent=2))


def _sandbox(folder: Path, alive: Mapping[str, EmulatorProcess]) -> RunningSandbox:
    record = _record(folder)
    emulators = tuple(alive[name] for name in NAMES)
    account_id = str(record.get("account_id", ACCOUNT_ID))
    return RunningSandbox(account_id, emulators, str(_key_file(folder)), record.get("stage_folder"))


def _end_stage(folder: Path) -> None:
    _end(iter(leftovers.processes(stage_folder(folder))))


def _mark(folder: Path, name: str) -> str:
    return f"{name}:{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}"


def _name_of(process: psutil.Process, folder: Path) -> str | None:
    """Return `ministack` or `moto` if the process is an emulator of this sandbox, or else None."""
    import psutil

    # psutil raises an error for a zombie, and for a process whose environment this user may not read.
    with suppress(psutil.Error, OSError):
        mark = process.environ().get(_MARK)
        return next((name for name in NAMES if mark == _mark(folder, name)), None)
    return None


def _is_ours(pid: int, folder: Path) -> bool:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return _name_of(psutil.Process(pid), folder) is not None
    return False


def _marked(folder: Path) -> list[tuple[str, psutil.Process]]:
    """List all running emulators of the sandbox as (name, process), also emulators that the record does not name."""
    import psutil

    named = ((_name_of(process, folder), process) for process in psutil.process_iter())
    return [(name, process) for name, process in named if name is not None]


def _end(processes: Iterator[psutil.Process]) -> None:
    import psutil

    left = list(processes)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            # Also send SIGCONT, because a process that SIGSTOP has stopped handles SIGTERM only after SIGCONT.
            process.send_signal(signal.SIGCONT)
    _, stubborn = psutil.wait_procs(left, timeout=_STOP_SECONDS)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
