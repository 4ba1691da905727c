"""Tests of the start, replacement, failure and removal of processes with a real supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from mjctl.local import daemon, leftovers, lifecycle
from mjctl.local.credentials import redis_password
from mjctl.local.inventory import observe
from mjctl.local.ports import allocate, is_free
from mjctl.local.probe import answered, probe, probe_all
from mjctl.local.spec import ProcessSpec
from mjctl.local.supervisor import WATCHDOG
from mjctl.models.errors import ConflictError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from conftest import Region


def connect(region: Region, name: str = "redis") -> redis.Redis:
    password = redis_password(region.layout)
    return redis.Redis(port=region.ports[name], password=password, socket_timeout=5, decode_responses=True)


def test_a_process_is_ready_when_start_returns(region: Region) -> None:
    line = lifecycle.start(region.spec("redis"))
    assert line.startswith(f"redis: ready on 127.0.0.1:{region.ports['redis']}")
    with connect(region) as client:
        assert client.ping()
    inventory = observe(region.layout.region_dir)
    assert inventory.supervisor_alive
    assert [info.name for info in inventory.processes] == ["redis"]
    assert inventory.exists("redis")
    assert not inventory.exists("postgres")


def test_a_second_start_of_the_same_process_changes_nothing(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    pid = region.pid("redis")
    lifecycle.start(region.spec("redis"))
    assert region.pid("redis") == pid


def test_a_replacement_gets_the_port_and_keeps_the_data(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    with connect(region) as client:
        client.set("kept", "yes")
    pid = region.pid("redis")
    lifecycle.start(region.spec("redis", "owner-2"))
    assert region.pid("redis") != pid
    with connect(region) as client:
        assert client.get("kept") == "yes"
    assert lifecycle.remove(region.layout, "redis", "owner-1") == "redis: kept, it belongs to its replacement"
    assert region.client.process("redis") is not None
    assert lifecycle.remove(region.layout, "redis", "owner-2") == "redis: stopped"
    assert region.client.process("redis") is None
    assert is_free(region.ports["redis"])
    assert region.incidents_of("redis") == []


def test_a_killed_process_is_restarted_and_recorded(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    pid = region.pid("redis")
    region.eventually(lambda: region.client.process("redis").state == "RUNNING")
    os.kill(pid, signal.SIGKILL)
    region.eventually(lambda: bool(region.incidents_of("redis")) and probe(region.spec("redis").live) is None)
    (incident,) = region.incidents_of("redis")
    assert (incident.kind, incident.pid) == ("exited", pid)
    assert region.pid("redis") != pid


@pytest.fixture
def game(region: Region, tmp_path: Path) -> ProcessSpec:
    """Return a process that the watchdog kills after three failures: a server that answers every request with 200."""
    package = tmp_path / "release" / "gameserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import http.server, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n"
    )
    address = f"http://127.0.0.1:{region.ports['other']}/healthz"
    # If the watchdog has not seen an answer of the process yet, the watchdog waits for `start_seconds` before it kills
    # the process.
    return region.spec(
        "other", kind="gameserver", arguments=(str(region.ports["other"]),), ready=address, live=address,
        environment={"PYTHONPATH": str(package.parent)}, start_seconds=10,
    )  # fmt: skip


def test_a_hung_process_is_restarted_and_recorded(region: Region, game: ProcessSpec) -> None:
    lifecycle.start(game)
    pid = region.pid("other")
    region.eventually(lambda: region.client.process("other").state == "RUNNING")
    os.kill(pid, signal.SIGSTOP)
    region.eventually(lambda: bool(region.incidents_of("other")) and probe(game.live) is None)
    (incident,) = region.incidents_of("other")
    assert (incident.kind, incident.pid) == ("hung", pid)
    assert region.pid("other") != pid


def test_a_redis_that_runs_a_script_is_not_ready_and_counts_as_alive(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    with connect(region) as client:
        client.config_set("lua-time-limit", 50)
    script = threading.Thread(target=_run_for_ever, args=(region,))
    script.start()
    try:
        region.eventually(lambda: "BUSY" in (_readiness(region) or ""))
        assert answered(_readiness(region))
        assert answered(probe(region.spec("redis").live))
    finally:
        with connect(region) as client:
            client.script_kill()
        script.join(60)
    region.eventually(lambda: _readiness(region) is None)
    assert region.incidents_of("redis") == []


def _readiness(region: Region) -> str | None:
    return probe(region.spec("redis").ready, redis_password=redis_password(region.layout))


def _run_for_ever(region: Region) -> None:
    with connect(region) as client, pytest.raises(redis.ResponseError):
        client.eval("while true do end", 0)


def test_a_killed_watchdog_is_restarted(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    watchdog = region.pid(WATCHDOG)
    os.kill(watchdog, signal.SIGKILL)
    region.eventually(lambda: region.client.process(WATCHDOG).state == "RUNNING" and region.pid(WATCHDOG) != watchdog)
    os.kill(region.pid("redis"), signal.SIGKILL)
    region.eventually(lambda: bool(region.incidents_of("redis")))


def test_processes_of_a_killed_supervisor_are_stopped_and_their_data_is_kept(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    with connect(region) as client:
        client.set("kept", "yes")
    orphan = region.pid("redis")
    os.kill(region.client.pid(), signal.SIGKILL)
    region.eventually(lambda: not observe(region.layout.region_dir).supervisor_alive)
    # The next plan must give the running process the same port.
    assert allocate(region.layout.region_dir, "us-east-1", list(region.ports), {}) == region.ports
    assert "redis" in region.start("supervisor-2")
    assert not leftovers.is_running(orphan)
    assert observe(region.layout.region_dir).processes == ()
    lifecycle.start(region.spec("redis", "owner-2"))
    with connect(region) as client:
        assert client.get("kept") == "yes"


def test_a_supervisor_that_lost_its_files_is_replaced(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    shutil.rmtree(region.layout.run)
    assert not observe(region.layout.region_dir).supervisor_alive
    assert "redis, supervisord, watchdog" in region.start("supervisor-2")
    lifecycle.start(region.spec("redis", "owner-2"))


def test_a_running_supervisor_is_adopted_with_its_processes(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    pid, supervisor = region.pid("redis"), region.client.pid()
    assert region.start("supervisor-2") == "supervisor: already running"
    assert (region.pid("redis"), region.client.pid()) == (pid, supervisor)
    assert daemon.stop(region.layout, "supervisor-1") == "supervisor: kept, it belongs to its replacement"
    assert region.client.pid() == supervisor


@pytest.mark.parametrize("supervisor", ["alive", "killed", "stopped"])
def test_nothing_is_left_of_a_destroyed_region(region: Region, supervisor: str) -> None:
    lifecycle.start(region.spec("redis"))
    pid = region.client.pid()
    if supervisor != "alive":
        os.kill(pid, signal.SIGKILL if supervisor == "killed" else signal.SIGSTOP)
    daemon.stop(region.layout, "supervisor-1")
    assert leftovers.find(region.layout.region_dir) == []
    assert not leftovers.is_running(pid)
    assert is_free(region.ports["redis"])
    assert not region.layout.run.exists()
    assert not region.layout.data.exists()
    assert not region.layout.secrets.exists()
    assert region.layout.log("redis").exists()
    daemon.stop(region.layout, "supervisor-1")


def test_the_error_of_a_process_that_cannot_start_has_the_end_of_its_log(region: Region) -> None:
    spec = region.spec("redis", kind="gameserver", arguments=("api",))
    with pytest.raises(UnreachableError, match=r"redis did not start[\s\S]*GAMESERVER_PROJECT is not set") as caught:
        lifecycle.start(spec)
    assert str(region.layout.log("redis")) in str(caught.value.where)
    assert region.client.process("redis") is None


def test_the_error_of_a_port_in_use_names_the_program(region: Region) -> None:
    with (
        socket.create_server(("127.0.0.1", region.ports["redis"])),
        pytest.raises(ConflictError, match=rf"cannot use port {region.ports['redis']}: .* \(pid {os.getpid()}\)"),
    ):
        lifecycle.start(region.spec("redis"))
    assert region.client.process("redis") is None


def test_rolling_processes_are_replaced_one_after_another(region: Region) -> None:
    names = ("redis", "other")
    for name in names:
        lifecycle.start(region.spec(name, rolling=True))
    replacements = [
        threading.Thread(target=lifecycle.start, args=(region.spec(name, "owner-2", rolling=True),)) for name in names
    ]
    for replacement in replacements:
        replacement.start()
    fewest = len(names)
    while any(replacement.is_alive() for replacement in replacements):
        answers = probe_all({name: region.spec(name).live for name in names}, 10)
        fewest = min(fewest, sum(reason is None for reason in answers.values()))
    assert fewest >= 1
    for name in names:
        assert lifecycle.remove(region.layout, name, "owner-2") == f"{name}: stopped"


def test_after_a_failed_replacement_the_other_processes_keep_running(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis", "other"):
        lifecycle.start(region.spec(name, rolling=True))
    with pytest.raises(UnreachableError, match="not ready after 1 s: no answer"):
        lifecycle.start(region.spec("redis", "owner-2", rolling=True, ready=_silent(region), start_seconds=1))
    pid = region.pid("other")
    with pytest.raises(
        ConflictError, match="other was not replaced and keeps running: the replacement of redis did not start"
    ):
        lifecycle.start(region.spec("other", "owner-2", rolling=True))
    assert region.pid("other") == pid
    # The next run of Terraform replaces the process `other`.
    monkeypatch.setattr(os, "getppid", lambda: 1)
    lifecycle.start(region.spec("other", "owner-2", rolling=True))
    assert region.pid("other") != pid


def test_the_client_reports_an_unknown_name(region: Region) -> None:
    with pytest.raises(NotFoundError, match="no process `unknown`"):
        region.client.restart("unknown")


def test_the_client_restarts_a_process(region: Region) -> None:
    lifecycle.start(region.spec("redis"))
    pid = region.pid("redis")
    region.client.restart("redis")
    region.eventually(lambda: probe(region.spec("redis").live) is None)
    assert region.pid("redis") != pid


def _silent(region: Region) -> str:
    """Return the address of a server that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    _LISTENERS.append(listener)
    return f"redis://127.0.0.1:{listener.getsockname()[1]}"


_LISTENERS: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _close_listeners() -> Iterator[None]:
    yield
    while _LISTENERS:
        _LISTENERS.pop().close()
