"""A client of a local region's supervisor (supervisord), and a reader of the incidents that the watchdog recorded."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xmlrpc.client import Fault, ProtocolError, ServerProxy, Transport

from mjctl.models.errors import NotFoundError, UnreachableError

WATCHDOG = "watchdog"

# Fault codes of supervisord, copied from supervisor.xmlrpc.Faults, because an import of that module would take 0.1 s of
# CPU in each provisioner.
_BAD_NAME = 10
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90


@dataclass(frozen=True)
class ProcessInfo:
    """Describes a program as supervisord reports it.

    Attributes:
        name: The program's name.
        state: STOPPED, STARTING, RUNNING, BACKOFF (ended too early, will be started again), STOPPING, EXITED or FATAL
            (will not be started again).
        pid: The process id, or None if the program does not run.
        started_at: The time of the start, or None if the program does not run.
        ended_at: The time of the last end, or None if the program has never ended.
        exit_status: The exit status with which the program last ended.
        detail: supervisord's explanation of the program's state.
    """

    name: str
    state: str
    pid: int | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_status: int
    detail: str

    @property
    def running(self) -> bool:
        """Return whether supervisord considers the program started: it has run for a second (`startsecs`)."""
        return self.state == "RUNNING"


@dataclass(frozen=True)
class Incident:
    """Describes an incident that the watchdog recorded.

    Attributes:
        at: The time.
        process: The program's name.
        kind: `exited` if the process ended unexpectedly, `hung` if it did not answer and the watchdog killed it.
        pid: The process id, or None if it is unknown.
        detail: A sentence for people.
    """

    at: datetime
    process: str
    kind: Literal["exited", "hung"]
    pid: int | None
    detail: str


class SupervisorClient:
    """Calls the supervisor by XML-RPC over its private socket.

    Every method raises UnreachableError if the supervisor does not answer or refuses the call. For an unknown program,
    `process` returns None, `remove` does nothing, and every other method raises NotFoundError.
    """

    def __init__(self, socket_path: Path, *, scope: str, timeout_seconds: float = 60.0) -> None:
        """Create a client, which connects for each call.

        Args:
            socket_path: The supervisor's socket.
            scope: The command-line options that select the region, for advice in errors.
            timeout_seconds: The longest time that a call waits for an answer.
        """
        self.socket_path = socket_path
        self._scope = scope
        self._proxy = ServerProxy(
            "http://supervisor/RPC2", transport=_UnixTransport(socket_path, timeout_seconds), allow_none=True
        )

    def pid(self) -> int:
        """Return the supervisor's process id."""
        return int(self._call("getPID"))

    def processes(self) -> list[ProcessInfo]:
        """List all programs of the supervisor, including the watchdog."""
        return [_process_info(values) for values in self._call("getAllProcessInfo")]

    def process(self, name: str) -> ProcessInfo | None:
        """Return the program `name`, or None if the supervisor does not have it."""
        try:
            return _process_info(self._call("getProcessInfo", name))
        except NotFoundError:
            return None

    def start(self, name: str) -> None:
        """Start a stopped program and return at once. Do nothing if the program runs."""
        self._call("startProcess", name, False, ignore=_ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Stop a program and wait for its end.

        If the program has not ended within its stop time, the supervisor kills the program by SIGKILL.
        """
        self._call("stopProcess", name, True, ignore=_NOT_RUNNING)

    def restart(self, name: str) -> None:
        """Stop a program, wait for its end and start it."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str) -> None:
        """Make the supervisor send SIGKILL to a program and restart it.

        Only the parent of a process can be sure that a process id still belongs to that process, and the supervisor is
        the parent of its programs.
        """
        self._call("signalProcess", name, "KILL", ignore=_NOT_RUNNING)

    def add(self, name: str) -> None:
        """Make the supervisor read its configuration again and start the new program `name`."""
        self._call("reloadConfig")
        self._call("addProcessGroup", name, ignore=_ALREADY_ADDED)

    def remove(self, name: str) -> None:
        """Stop a program and remove it from the supervisor. Do nothing if the supervisor does not have the program."""
        if self.process(name) is None:
            return
        self.stop(name)
        self._call("removeProcessGroup", name, ignore=_BAD_NAME)

    def shutdown(self) -> None:
        """Request that the supervisor stops its programs and ends.

        `shutdown` does not wait for the supervisor's end.
        """
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any, ignore: int | None = None) -> Any:
        function: Callable[..., Any] = getattr(self._proxy.supervisor, method)
        try:
            return function(*arguments)
        except Fault as fault:
            if fault.faultCode == ignore:
                return None
            if fault.faultCode == _BAD_NAME:
                raise NotFoundError(
                    f"the supervisor has no process `{arguments[0]}`",
                    where=str(self.socket_path),
                    hint="`mjctl health --only 'process/*'` lists the processes; "
                    f"`mjctl deploy {self._scope}` starts a missing process again",
                ) from None
            raise UnreachableError(
                f"the supervisor refused {method}: {fault.faultString}", where=str(self.socket_path)
            ) from None
        except (OSError, http.client.HTTPException, ProtocolError) as error:
            raise UnreachableError(
                f"the region's supervisor does not answer: {error}",
                where=str(self.socket_path),
                hint=f"`mjctl deploy {self._scope}` starts the supervisor again",
            ) from None
        finally:
            self._proxy("close")()


def incidents(run_dir: Path) -> list[Incident]:
    """List the incidents that the watchdog recorded, the oldest first.

    The list is empty if the file of incidents is missing.
    """
    try:
        lines = (run_dir / "incidents.jsonl").read_text().splitlines()
    except OSError:
        return []
    return [incident for line in lines if (incident := _incident(line)) is not None]


def _incident(line: str) -> Incident | None:
    # Skip an incomplete line of the file of incidents: the machine went down while the watchdog wrote the line.
    try:
        values = json.loads(line)
        return Incident(**{**values, "at": datetime.fromisoformat(values["at"])})
    except (ValueError, TypeError, KeyError):
        return None


def _process_info(values: dict[str, Any]) -> ProcessInfo:
    pid = int(values["pid"]) or None
    return ProcessInfo(
        name=values["name"],
        state=values["statename"],
        pid=pid,
        started_at=datetime.fromtimestamp(int(values["start"]), UTC) if pid else None,
        ended_at=datetime.fromtimestamp(int(values["stop"]), UTC) if values["stop"] else None,
        exit_status=int(values["exitstatus"]),
        detail=values["spawnerr"] or values["description"],
    )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: Path, timeout_seconds: float) -> None:
        super().__init__("supervisor", timeout=timeout_seconds)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._socket_path))
        except OSError:
            # xmlrpc does not close the socket of a connection that failed, so close the socket here.
            self.close()
            raise


class _UnixTransport(Transport):
    def __init__(self, socket_path: Path, timeout_seconds: float) -> None:
        super().__init__()
        self._socket_path = socket_path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._socket_path, self._timeout_seconds)
        # xmlrpc's `Transport.close` closes the connection that the attribute `_connection` contains.
        self._connection = host, connection
        return connection
