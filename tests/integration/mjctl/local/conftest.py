"""A fixture with a new region, a real supervisor and the specifications of its processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mjctl.local import daemon, leftovers
from mjctl.local.layout import Layout
from mjctl.local.ports import allocate
from mjctl.local.spec import Kind, ProcessSpec
from mjctl.local.supervisor import Incident, SupervisorClient, incidents

PROCESSES: dict[str, Kind] = {"redis": "redis", "other": "redis", "postgres": "postgres", "aws": "aws"}
READY = {"redis": "0", "postgres": "game"}
_WAIT_SECONDS = 60.0


class Region:
    """Represents a local region. `start` starts a process in the same way as the creation of the process's Terraform
    resource."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.ports = allocate(folder, "us-east-1", list(PROCESSES), {})

    def start(self, owner: str = "supervisor-1") -> str:
        return daemon.start(self.layout, owner)

    @property
    def client(self) -> SupervisorClient:
        return daemon.connect(self.layout)

    def spec(self, name: str, owner: str = "owner-1", **changes: Any) -> ProcessSpec:
        kind, port = PROCESSES[name], self.ports[name]
        address = f"http://127.0.0.1:{port}/healthz" if kind == "aws" else f"{kind}://127.0.0.1:{port}"
        ready = f"{address}/{READY[kind]}" if kind in READY else address
        environment = {"MINISTACK_REGION": "us-east-1"} if kind == "aws" else {}
        spec = ProcessSpec(
            name, kind, owner, self.layout.region_dir, port, ready=ready, live=address, environment=environment
        )
        return replace(spec, **changes)

    def pid(self, name: str) -> int:
        info = self.client.process(name)
        assert info is not None
        assert info.pid is not None
        return info.pid

    def pid_or_none(self, name: str) -> int | None:
        info = self.client.process(name)
        return info.pid if info is not None else None

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true, and fail the test after a minute."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "the condition was not true within a minute"
            time.sleep(0.05)

    def incidents_of(self, name: str) -> list[Incident]:
        return [incident for incident in incidents(self.layout.run) if incident.process == name]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path / "us-east-1")
    region.start()
    yield region
    daemon.stop(region.layout)
    assert leftovers.find(region.layout.region_dir) == []
