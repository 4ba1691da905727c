"""The watchdog of a local region: probes every process each second, kills processes that hang, and records incidents.

supervisord restarts a process that has ended, but it does not notice a process that hangs. The watchdog kills a process
after three consecutive probes without an answer, and a data store after thirty. supervisord then restarts the killed
process. The watchdog also receives supervisord's events, and records unexpected ends as incidents.

Usage: python -m mjctl.local.watchdog REGION_DIR SOCKET   (run by supervisord only)
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from mjctl.files import append_private
from mjctl.local.layout import Layout
from mjctl.local.probe import answered, probe_all
from mjctl.local.spec import ProcessSpec, all_recorded
from mjctl.local.supervisor import ProcessInfo, SupervisorClient
from mjctl.models.errors import UnreachableError

_INTERVAL_SECONDS = 1.0
_ANSWER_SECONDS = 1.0
_FAILURES = 3
# A data store may not answer for seconds while it works: Redis runs a script, PostgreSQL writes a checkpoint, or the
# emulated AWS scans a table. While a script runs, Redis does not answer other commands for 5 s
# (`busy-reply-threshold`), and then refuses them. A data store that is killed can lose data that it has not saved. With
# a probe each second, 30 failures are 30 seconds without an answer.
_DATA_STORE_FAILURES = 30
_FAILURES_OF = dict.fromkeys(("redis", "postgres", "aws"), _DATA_STORE_FAILURES)


@dataclass
class _Health:
    """Holds the results of the probes of a process since its start.

    Attributes:
        pid: The process id.
        since: The time of the first probe, by the monotonic clock.
        answered: True if a probe has ever been answered.
        failures: The number of consecutive probes without an answer.
    """

    pid: int
    since: float = field(default_factory=time.monotonic)
    answered: bool = False
    failures: int = 0

    def hangs(self, spec: ProcessSpec) -> bool:
        """Return whether the process hangs.

        A process that has never answered hangs if its `start_seconds` have passed since the first probe.
        """
        if self.answered:
            return self.failures >= _FAILURES_OF.get(spec.kind, _FAILURES)
        return time.monotonic() - self.since > spec.start_seconds


class Watchdog:
    """Probes the processes of a region, kills processes that hang, and records incidents."""

    def __init__(self, layout: Layout, client: SupervisorClient) -> None:
        self._layout = layout
        self._client = client
        self._health: dict[str, _Health] = {}
        self._killed: set[int] = set()

    def check(self) -> None:
        """Probe every running process once, all at the same time, and kill the processes that hang."""
        running = {info.name: info for info in self._client.processes() if info.pid is not None}
        specs = {spec.name: spec for spec in all_recorded(self._layout) if spec.name in running}
        live = {name: spec.live for name, spec in specs.items()}
        answers = probe_all(live, _ANSWER_SECONDS, self._layout.tls_authority)
        for name, reason in answers.items():
            self._evaluate(specs[name], running[name], reason)
        self._health = {name: health for name, health in self._health.items() if name in running}

    def _evaluate(self, spec: ProcessSpec, info: ProcessInfo, reason: str | None) -> None:
        pid = info.pid or 0
        health = self._health.get(spec.name)
        if health is None or health.pid != pid:
            health = self._health[spec.name] = _Health(pid)
        if answered(reason):
            health.answered, health.failures = True, 0
            return
        health.failures += 1
        if info.running and health.hangs(spec):
            self._killed.add(pid)
            self.record(spec.name, "hung", pid, f"{reason}, {health.failures} times in a row; killed")
            self._client.kill(spec.name)
            del self._health[spec.name]

    def handle_event(self, event: str, values: dict[str, str]) -> None:
        """Record the end of a process, unless mjctl or the watchdog stopped the process.

        Args:
            event: The name of supervisord's event.
            values: The fields of the event's payload.
        """
        pid = int(values.get("pid", 0)) or None
        if event == "PROCESS_STATE_EXITED" and pid in self._killed:
            self._killed.discard(pid)
        elif event == "PROCESS_STATE_EXITED":
            expected = values.get("expected") == "1"
            self.record(values["processname"], "exited", pid, "ended normally" if expected else "ended unexpectedly")
        elif event == "PROCESS_STATE_BACKOFF":
            self.record(values["processname"], "exited", pid, f"ended while it started, try {values.get('tries')}")

    def record(self, process: str, kind: str, pid: int | None, detail: str) -> None:
        """Append an incident to the region's file of incidents.

        Each incident is appended by a single write, so the lines of two threads never mix.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "process": process, "kind": kind, "pid": pid, "detail": detail}) + "\n"
        with append_private(self._layout.incidents) as stream:
            stream.write(line)


def poll_for_ever(watchdog: Watchdog) -> None:
    """Check the processes each second.

    After any exception, `poll_for_ever` ends the watchdog's process, so that supervisord starts a new watchdog.
    """
    try:
        while True:
            began = time.monotonic()
            watchdog.check()
            time.sleep(max(0.0, _INTERVAL_SECONDS - (time.monotonic() - began)))
    except UnreachableError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def listen(watchdog: Watchdog, events: TextIO, answers: TextIO) -> None:
    """Receive supervisord's events, by its protocol of event listeners, until supervisord closes the stream."""
    while True:
        answers.write("READY\n")
        answers.flush()
        header = events.readline()
        if not header:
            return
        fields = _fields(header)
        payload = events.read(int(fields["len"]))
        watchdog.handle_event(fields["eventname"], _fields(payload))
        answers.write("RESULT 2\nOK")
        answers.flush()


def _fields(line: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in line.split())


def main(arguments: list[str]) -> int:
    """Run the watchdog for the region's folder and the supervisor's socket in `arguments`."""
    region_dir, socket = map(Path, arguments)
    layout = Layout(region_dir)
    watchdog = Watchdog(layout, SupervisorClient(socket, scope=layout.scope, timeout_seconds=10.0))
    threading.Thread(target=poll_for_ever, args=(watchdog,), daemon=True).start()
    listen(watchdog, sys.stdin, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
