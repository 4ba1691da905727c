"""What keeps a region's processes well: an event listener of supervisord that also asks each of them every second.

supervisord brings back what has ended. A process that hangs does not end: after three unanswered questions in a row
(a data store: thirty) the watchdog kills it, and supervisord starts it anew. Both are recorded as incidents.

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
# A data store can be silent for seconds while it works: Redis runs a script (it refuses other commands only after
# `busy-reply-threshold`, 5 s), PostgreSQL writes a checkpoint, the emulated AWS scans a table. To kill it loses what it
# has not saved. At one question a second, 30 failures are 30 seconds without an answer.
_DATA_STORE_FAILURES = 30
_FAILURES_OF = dict.fromkeys(("redis", "postgres", "aws"), _DATA_STORE_FAILURES)


@dataclass
class _Health:
    """What is known about one life of one process."""

    pid: int
    since: float = field(default_factory=time.monotonic)
    answered: bool = False
    failures: int = 0

    def hangs(self, spec: ProcessSpec) -> bool:
        """One that has not answered yet may still be starting: a database recovers, a machine is busy."""
        if self.answered:
            return self.failures >= _FAILURES_OF.get(spec.kind, _FAILURES)
        return time.monotonic() - self.since > spec.start_seconds


class Watchdog:
    """The polling half. `check` is one round and is called every second."""

    def __init__(self, layout: Layout, client: SupervisorClient) -> None:
        self._layout = layout
        self._client = client
        self._health: dict[str, _Health] = {}
        self._killed: set[int] = set()

    def check(self) -> None:
        """Ask every running process once, at the same time; kill those that hang."""
        running = {info.name: info for info in self._client.processes() if info.pid is not None}
        specs = {spec.name: spec for spec in all_recorded(self._layout) if spec.name in running}
        live = {name: spec.live for name, spec in specs.items()}
        answers = probe_all(live, _ANSWER_SECONDS, self._layout.tls_authority)
        for name, reason in answers.items():
            self._judge(specs[name], running[name], reason)
        self._health = {name: health for name, health in self._health.items() if name in running}

    def _judge(self, spec: ProcessSpec, info: ProcessInfo, reason: str | None) -> None:
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
        """Record an end that nobody asked for."""
        pid = int(values.get("pid", 0)) or None
        if event == "PROCESS_STATE_EXITED" and pid in self._killed:
            self._killed.discard(pid)
        elif event == "PROCESS_STATE_EXITED":
            expected = values.get("expected") == "1"
            self.record(values["processname"], "exited", pid, "ended by itself" if expected else "ended unexpectedly")
        elif event == "PROCESS_STATE_BACKOFF":
            self.record(values["processname"], "exited", pid, f"ended while it started, try {values.get('tries')}")

    def record(self, process: str, kind: str, pid: int | None, detail: str) -> None:
        """Append an incident to the file. Its line is a single write, so that lines of two threads never mix."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "process": process, "kind": kind, "pid": pid, "detail": detail}) + "\n"
        with append_private(self._layout.incidents) as stream:
            stream.write(line)


def poll_for_ever(watchdog: Watchdog) -> None:
    """Check once a second. Any failure ends the process: supervisord starts a fresh watchdog, if it is there at all."""
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
    """Speak supervisord's event protocol until it closes the stream."""
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
    region_dir, socket = map(Path, arguments)
    layout = Layout(region_dir)
    watchdog = Watchdog(layout, SupervisorClient(socket, scope=layout.scope, timeout_seconds=10.0))
    threading.Thread(target=poll_for_ever, args=(watchdog,), daemon=True).start()
    listen(watchdog, sys.stdin, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
