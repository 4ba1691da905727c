"""Runs the real `mjctl` command as an operator does, in a separate home folder.

Most tests of this folder share one deployed region. A test may stop processes of the region, drain its servers or
delete its data. The fixture `operator` repairs the region before each test, so that no test depends on the order of
the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mjctl.local import drains
from mjctl.local.supervisor import SupervisorClient
from mjctl.models.errors import MjctlError
from tests.documents import read_document

REGION = "us-east-1"


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Return the JSON document on stdout, and fail the test if stdout contains any other text."""
        return read_document(self.stdout)


@dataclass(frozen=True)
class Operator:
    """Runs mjctl as an operator does in a shell without a terminal."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MJCTL_")}
        return {**kept, "MJCTL_HOME": str(self.home)}

    def run(self, *arguments: str, timeout: float = 240, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "mjctl", *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mjctl", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def contract(self, region: str = REGION) -> Any:
        return self.run("outputs", "--region", region, "--output", "json").json()["regions"][0]["outputs"]

    def pid(self, process: str, region: str = REGION) -> int:
        listed = self.run("servers", "list", "--region", region, "--output", "json").json()
        return int(next(server["pid"] for server in listed["regions"][0]["servers"] if server["id"] == process))

    def remove_backups(self, region: str = REGION) -> None:
        shutil.rmtree(self.home / "local" / region / "backups", ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """List the living processes that name this home in their command line or environment."""
        living = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in " ".join(process.cmdline() + list(process.environ().values())):
                    living.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return [
            process for process in living if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
        ]


def eventually(check: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until `check` returns True. Returns: the seconds until `check` returned True."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - started


@dataclass(frozen=True)
class SharedRegion:
    """Holds the deployed region that tests share.

    Attributes:
        operator: runs commands on the region.
        contract: the contract of the region after the first deploy.
        processes: the names of the region's processes after the first deploy.
        first_health: the result of `health` after the first deploy, before a test changes the region.
    """

    operator: Operator
    contract: Any
    processes: frozenset[str]
    first_health: Ran

    @property
    def supervisor(self) -> SupervisorClient:
        return SupervisorClient(Path(self.contract["fleet"]["supervisor_socket"]), scope=f"--region {REGION}")

    def repair(self) -> None:
        """Start every process that a test has stopped, and restart every server that a test has drained."""
        if self._is_whole():
            return
        with suppress(AssertionError):
            # If the watchdog is already restarting the process, the region is whole within 5 s, without a deploy.
            eventually(self._is_whole, 5, "the processes run")
            return
        ran = self.operator.run("deploy", "--region", REGION, "--auto-approve")
        assert ran.code == 0, ran.stderr
        if drained := self._drained():
            ran = self.operator.run("servers", "restart", *drained, "--region", REGION, "--yes")
            assert ran.code == 0, ran.stderr
        eventually(self._is_whole, 60, "the processes run after a repair")

    def _is_whole(self) -> bool:
        try:
            running = {process.name for process in self.supervisor.processes() if process.running}
        except MjctlError:
            return False
        return running >= self.processes and not self._drained() and all(map(_listens, self._ports()))

    def _ports(self) -> list[int]:
        ports = json.loads((self.operator.home / "local" / REGION / "ports.json").read_text())
        return list(ports.values())

    def _drained(self) -> list[str]:
        return sorted(drains.marks(self.operator.home / "local" / REGION / "run"))


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def shared_region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRegion]:
    """Deploy one region for the whole session, and destroy it at the end."""
    operator = Operator(tmp_path_factory.mktemp("home"))
    ran = operator.run("deploy", "--region", REGION, "--auto-approve")
    assert ran.code == 0, ran.stderr
    contract = operator.contract()
    supervisor = SupervisorClient(Path(contract["fleet"]["supervisor_socket"]), scope=f"--region {REGION}")
    health = operator.run("health", "--region", REGION, "--output", "json")
    yield SharedRegion(operator, contract, frozenset(process.name for process in supervisor.processes()), health)
    ran = operator.run("destroy", "--all-regions", "--auto-approve")
    assert ran.code == 0, ran.stderr
    assert operator.processes() == []


@pytest.fixture
def operator(shared_region: SharedRegion) -> Operator:
    """Return an operator of the shared region, in which every process runs and no server is drained."""
    shared_region.repair()
    return shared_region.operator


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Operator]:
    """Return an operator with an empty home. The fixture destroys everything that a test deploys in this home."""
    operator = Operator(tmp_path / "home")
    yield operator
    # Without a state file, `destroy` would report that nothing is deployed.
    if any(operator.home.rglob("terraform.tfstate*")):
        operator.run("destroy", "--all-regions", "--auto-approve")
    assert operator.processes() == []
