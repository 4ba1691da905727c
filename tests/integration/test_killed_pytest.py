"""The watcher of a killed pytest (tests/guard.py) ends the services that the pytest started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[2]
# A service that a fixture starts, a process that has left its parent, and a region's supervisor with a program.
SUITE = """
import subprocess, sys, time
from mjctl.local import lifecycle
from tests.integration.mjctl.local.conftest import Region

LEAVE = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]], start_new_session=True)"

def test_services_run(redis_url, tmp_path):
    region = Region(tmp_path / "us-east-1")
    region.start()
    lifecycle.start(region.spec("other"))
    subprocess.run([sys.executable, "-c", LEAVE, "-c", "import time; time.sleep(600)", str(tmp_path)], check=True)
    open({ready!r}, "w").close()
    time.sleep(600)
"""


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def commands_below(folder: Path) -> list[str]:
    """Return the command lines of all processes that have a path below `folder` in their environment or arguments."""
    commands = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            if str(folder) in command + " ".join(process.environ().values()):
                commands.append(command)
        except psutil.Error:
            continue
    return commands


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with a worker"])
def test_services_end_with_a_pytest_that_is_killed(workers: tuple[str, ...], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    suite = tmp_path / "suite" / "test_suite.py"
    suite.parent.mkdir()
    suite.write_text(SUITE.replace("{ready!r}", repr(str(ready))))
    with (tmp_path / "log").open("w") as log:
        nested = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "tests.integration.conftest"),
                *("-c", str(PROJECT / "pyproject.toml"), "--basetemp", str(tmp_path / "nested"), *workers, str(suite)),
            ],
            cwd=PROJECT,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin"},
        )
    try:
        until(lambda: ready.exists() or nested.poll() is not None, "the services did not start")
        assert nested.poll() is None, (tmp_path / "log").read_text()
        running = commands_below(tmp_path / "nested")
        for part in ("supervisord", "time.sleep(600)"):
            assert any(part in command for command in running), running
        assert sum("redis" in command or "valkey" in command for command in running) >= 2, running
        nested.send_signal(signal.SIGKILL)
        nested.wait()
        until(lambda: not commands_below(tmp_path / "nested"), "services outlived their pytest")
    finally:
        nested.kill()
        nested.wait()
