"""The main job as a user runs it: the real command, on a home of its own, with two regions to play with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.documents import read_document

REGION = "us-east-1"


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one document on stdout; anything beside it fails the test."""
        return read_document(self.stdout)


@dataclass(frozen=True)
class Operator:
    """A person at a shell without a terminal."""

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
        found = self.run("servers", "list", "--region", region, "--output", "json").json()
        return int(next(one["pid"] for one in found["regions"][0]["servers"] if one["id"] == process))

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started out of this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in " ".join(process.cmdline() + list(process.environ().values())):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return [one for one in found if one.pid != os.getpid() and one.status() != psutil.STATUS_ZOMBIE]


def eventually(check: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until `check` holds; how long it took, in seconds."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - started


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One deployed region for the whole session, destroyed at its end whatever the tests did to it."""
    who = Operator(tmp_path_factory.mktemp("home"))
    ran = who.run("deploy", "--region", REGION, "--auto-approve")
    assert ran.code == 0, ran.stderr
    yield who
    ran = who.run("destroy", "--all-regions", "--auto-approve")
    assert ran.code == 0, ran.stderr
    assert who.processes() == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Operator]:
    """A home with nothing in it, emptied again afterwards."""
    who = Operator(tmp_path / "home")
    yield who
    # Without a state there is nothing that a destroy knows of.
    if any(who.home.rglob("terraform.tfstate*")):
        who.run("destroy", "--all-regions", "--auto-approve")
    assert who.processes() == []
