"""Tests when the watchdog kills a process, and which incidents it records."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from mjctl.local import watchdog as module
from mjctl.local.layout import Layout
from mjctl.local.spec import Kind, ProcessSpec, recorded
from mjctl.local.supervisor import Incident, ProcessInfo, incidents
from mjctl.local.watchdog import Watchdog, listen


class Supervisor:
    """Simulates the supervisor with a process whose pid and state the test sets."""

    def __init__(self) -> None:
        self.pid = 100
        self.state = "RUNNING"
        self.killed: list[str] = []

    def processes(self) -> list[ProcessInfo]:
        return [ProcessInfo("api", self.state, self.pid, None, None, 0, "")]

    def kill(self, name: str) -> None:
        self.killed.append(name)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.create()
    address = "http://127.0.0.1:1"
    ProcessSpec("api", "gameserver", "owner", tmp_path, 1, ready=address, live=address).record()
    return layout


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return the list of the verdicts of the next probes, of which the last verdict repeats for ever."""
    queue: list[str | None] = [None]
    monkeypatch.setattr(
        module,
        "probe_all",
        lambda addresses, *_: {name: queue.pop(0) if len(queue) > 1 else queue[0] for name in addresses},
    )
    return queue


@pytest.fixture
def watchdog(layout: Layout, supervisor: Supervisor, answers: list[str | None]) -> Watchdog:
    return Watchdog(layout, supervisor)  # type: ignore[arg-type]


def rounds(watchdog: Watchdog, count: int) -> None:
    for _ in range(count):
        watchdog.check()


def kinds(layout: Layout) -> list[str]:
    return [incident.kind for incident in incidents(layout.run)]


def test_a_process_is_killed_after_three_consecutive_failures(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None], layout: Layout
) -> None:
    answers[:] = [None, "no answer", "no answer", "no answer"]
    rounds(watchdog, 3)
    assert supervisor.killed == []
    rounds(watchdog, 1)
    assert supervisor.killed == ["api"]
    (incident,) = incidents(layout.run)
    assert (incident.process, incident.kind, incident.pid) == ("api", "hung", 100)
    assert "no answer, 3 times in a row" in incident.detail


@pytest.mark.parametrize("kind", ["redis", "postgres", "aws"])
def test_a_data_store_is_killed_only_after_30_s_without_an_answer(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None], tmp_path: Path, kind: Kind
) -> None:
    address = "http://127.0.0.1:1"
    ProcessSpec("api", kind, "owner", tmp_path, 1, ready=address, live=address).record()
    answers[:] = [None, "no answer"]
    rounds(watchdog, 30)
    assert supervisor.killed == []
    rounds(watchdog, 1)
    assert supervisor.killed == ["api"]


@pytest.mark.parametrize(
    "answer",
    [
        "answered '-BUSY Redis is busy running a script. You can only call SCRIPT KI'",
        "answered '-LOADING Redis is loading the dataset in memory'",
    ],
)
def test_a_redis_that_is_busy_is_alive(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None], layout: Layout, answer: str
) -> None:
    answers[:] = [None, answer]
    rounds(watchdog, 100)
    assert supervisor.killed == []
    assert kinds(layout) == []


def test_an_answer_between_failures_resets_their_count(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None]
) -> None:
    answers[:] = [None, "busy", "busy", None, "busy", "busy", None]
    rounds(watchdog, 10)
    assert supervisor.killed == []


def test_a_process_that_has_never_answered_is_killed_after_its_start_time(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None], layout: Layout
) -> None:
    answers[:] = ["connection refused"]
    rounds(watchdog, 10)
    assert supervisor.killed == []
    spec = recorded(layout, "api")
    assert spec is not None
    replace(spec, start_seconds=0.0).record()
    rounds(watchdog, 1)
    assert supervisor.killed == ["api"]


def test_the_failures_of_an_earlier_process_do_not_count_for_a_new_process(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None]
) -> None:
    answers[:] = [None, "busy", "busy", "busy"]
    rounds(watchdog, 3)
    supervisor.pid = 101
    rounds(watchdog, 3)
    assert supervisor.killed == []


def test_a_process_that_the_supervisor_stops_is_not_killed(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None]
) -> None:
    answers[:] = [None, "busy"]
    rounds(watchdog, 1)
    supervisor.state = "STOPPING"
    rounds(watchdog, 5)
    assert supervisor.killed == []


def test_the_end_of_a_killed_process_is_recorded_once(
    watchdog: Watchdog, answers: list[str | None], layout: Layout
) -> None:
    answers[:] = [None, "busy"]
    rounds(watchdog, 4)
    ended = {"processname": "api", "expected": "0", "pid": "100"}
    watchdog.handle_event("PROCESS_STATE_EXITED", ended)
    assert kinds(layout) == ["hung"]
    watchdog.handle_event("PROCESS_STATE_EXITED", {**ended, "pid": "101"})
    assert kinds(layout) == ["hung", "exited"]


def test_events_are_acknowledged_and_recorded(watchdog: Watchdog, layout: Layout) -> None:
    def message(event: str, payload: str) -> str:
        return f"ver:3.0 server:s serial:1 pool:watchdog poolserial:1 eventname:{event} len:{len(payload)}\n{payload}"

    events = io.StringIO(
        message("PROCESS_STATE_EXITED", "processname:api groupname:api from_state:RUNNING expected:0 pid:7")
        + message("PROCESS_STATE_RUNNING", "processname:api groupname:api from_state:STARTING pid:8")
        + message("PROCESS_STATE_BACKOFF", "processname:api groupname:api from_state:STARTING tries:2")
        + message("PROCESS_STATE_STOPPED", "processname:api groupname:api from_state:STOPPING pid:8")
    )
    written = io.StringIO()
    listen(watchdog, events, written)
    assert written.getvalue() == "READY\nRESULT 2\nOK" * 4 + "READY\n"
    recorded = incidents(layout.run)
    assert [(item.process, item.kind, item.pid) for item in recorded] == [("api", "exited", 7), ("api", "exited", None)]
    assert "try 2" in recorded[1].detail


def test_an_incomplete_line_does_not_hide_other_incidents(layout: Layout, watchdog: Watchdog) -> None:
    watchdog.record("api", "exited", 7, "ended unexpectedly")
    with layout.incidents.open("a") as file:
        file.write('{"at": "2026-')
    (incident,) = incidents(layout.run)
    assert isinstance(incident, Incident)
    assert incident.at.tzinfo is not None


def test_a_region_without_the_file_has_no_incidents(tmp_path: Path) -> None:
    assert incidents(tmp_path) == []


def test_a_process_with_a_refused_certificate_is_not_killed(
    watchdog: Watchdog, supervisor: Supervisor, answers: list[str | None], layout: Layout
) -> None:
    answers[:] = ["certificate refused: certificate has expired"]
    rounds(watchdog, 30)
    assert supervisor.killed == []
    assert kinds(layout) == []
