"""The supervisor of one region (supervisord): a client for it, and the incidents its watchdog has recorded."""

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

# supervisor.xmlrpc.Faults; importing that module costs 0.1 s of CPU in every provisioner.
_BAD_NAME = 10
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90


@dataclass(frozen=True)
class ProcessInfo:
    """One program as supervisord sees it.

    `state` is supervisord's: STOPPED, STARTING, RUNNING, BACKOFF (ended too soon, will be tried again), STOPPING,
    EXITED, FATAL (given up). `pid` and `started_at` are None unless it runs; `ended_at` is when it last did.
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
        return self.state == "RUNNING"


@dataclass(frozen=True)
class Incident:
    """What the watchdog saw: a process that ended by itself, or one that no longer answered and was killed."""

    at: datetime
    process: str
    kind: Literal["exited", "hung"]
    pid: int | None
    detail: str


class SupervisorClient:
    """XML-RPC over the supervisor's private socket. Every method raises UnreachableError when it does not answer."""

    def __init__(self, socket_path: Path, *, scope: str, timeout_seconds: float = 60.0) -> None:
        """Connect at the first call.

        Args:
            scope: The options that name the region to a command, for advice in errors.
        """
        self.socket_path = socket_path
        self._scope = scope
        self._proxy = ServerProxy(
            "http://supervisor/RPC2", transport=_UnixTransport(socket_path, timeout_seconds), allow_none=True
        )

    def pid(self) -> int:
        return int(self._call("getPID"))

    def processes(self) -> list[ProcessInfo]:
        """Every program, the watchdog included."""
        return [_process_info(values) for values in self._call("getAllProcessInfo")]

    def process(self, name: str) -> ProcessInfo | None:
        """One program; None when the supervisor does not know it."""
        try:
            return _process_info(self._call("getProcessInfo", name))
        except NotFoundError:
            return None

    def start(self, name: str) -> None:
        """Start a stopped program and return at once; no effect on one that runs."""
        self._call("startProcess", name, False, ignore=_ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Stop a program and wait for its end (SIGTERM, then SIGKILL after its own limit)."""
        self._call("stopProcess", name, True, ignore=_NOT_RUNNING)

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def kill(self, name: str) -> None:
        """SIGKILL, by the supervisor itself, so that the pid cannot meanwhile be another's; it is then restarted."""
        self._call("signalProcess", name, "KILL", ignore=_NOT_RUNNING)

    def add(self, name: str) -> None:
        """Read the configuration again and start the program `name` that stands there now."""
        self._call("reloadConfig")
        self._call("addProcessGroup", name, ignore=_ALREADY_ADDED)

    def remove(self, name: str) -> None:
        """Stop the program and forget it; no effect when it is not there."""
        if self.process(name) is None:
            return
        self.stop(name)
        self._call("removeProcessGroup", name, ignore=_BAD_NAME)

    def shutdown(self) -> None:
        """Ask the supervisor to stop its programs and end; it may still be alive on return."""
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
                    f"`mjctl deploy {self._scope}` brings back one that is missing",
                ) from None
            raise UnreachableError(
                f"the supervisor refused {method}: {fault.faultString}", where=str(self.socket_path)
            ) from None
        except (OSError, http.client.HTTPException, ProtocolError) as error:
            raise UnreachableError(
                f"the region's supervisor does not answer: {error}",
                where=str(self.socket_path),
                hint=f"`mjctl deploy {self._scope}` starts it again",
            ) from None
        finally:
            self._proxy("close")()


def incidents(run_dir: Path) -> list[Incident]:
    """What the watchdog recorded, oldest first; empty when there is nothing."""
    try:
        lines = (run_dir / "incidents.jsonl").read_text().splitlines()
    except OSError:
        return []
    return [incident for line in lines if (incident := _incident(line)) is not None]


def _incident(line: str) -> Incident | None:
    # A line can be cut short when the machine went down while it was written.
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
            # xmlrpc forgets a connection that never came about, and with it the socket.
            self.close()
            raise


class _UnixTransport(Transport):
    def __init__(self, socket_path: Path, timeout_seconds: float) -> None:
        super().__init__()
        self._socket_path = socket_path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._socket_path, self._timeout_seconds)
        # Where `close` looks for it.
        self._connection = host, connection
        return connection
