"""Tests that a process keeps its port and that no two processes have the same port."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mjctl.files import read_json
from mjctl.local.ports import allocate, describe_holder, is_free
from mjctl.models.errors import ConflictError

NAMES = ["redis", "api", "game-us-east-1a-1", "game-us-east-1a-1-ops"]


pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture
def region_dir(tmp_path: Path) -> Path:
    return tmp_path / "home" / "local" / "us-east-1"


@pytest.fixture
def foreign() -> Iterator[int]:
    """Return a port on which a program outside of the region listens: the test's process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_processes_have_different_ports_and_keep_them(region_dir: Path) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    assert list(first) == NAMES
    assert len(set(first.values())) == len(NAMES)
    assert all(is_free(port) for port in first.values())
    assert allocate(region_dir, "us-east-1", NAMES, {}) == first
    assert allocate(region_dir, "us-east-1", [*NAMES, "worker"], {}).items() >= first.items()


def test_two_regions_never_have_the_same_port(tmp_path: Path) -> None:
    regions = [tmp_path / str(number) for number in range(4)]
    ports = [port for region in regions for port in allocate(region, "us-east-1", NAMES, {}).values()]
    assert len(set(ports)) == len(ports)


def test_a_port_that_another_program_uses_now_is_replaced(region_dir: Path, foreign: int) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    (region_dir / "ports.json").write_text(
        (region_dir / "ports.json").read_text().replace(str(first["api"]), str(foreign))
    )
    again = allocate(region_dir, "us-east-1", NAMES, {})
    assert again["api"] != foreign
    assert {name: again[name] for name in NAMES if name != "api"} == {n: first[n] for n in NAMES if n != "api"}


def test_a_pinned_port_is_given_to_its_process_even_if_another_process_had_it(region_dir: Path) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    again = allocate(region_dir, "us-east-1", NAMES, {"api": first["redis"]})
    assert again["api"] == first["redis"]
    assert again["redis"] != first["redis"]


def test_the_error_of_a_pinned_port_in_use_names_its_program_and_nothing_changes(
    region_dir: Path, foreign: int
) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    with pytest.raises(
        ConflictError, match=rf"port {foreign}, pinned for us-east-1/api, .*\(pid {os.getpid()}\)"
    ) as caught:
        allocate(region_dir, "us-east-1", NAMES, {"api": foreign})
    assert caught.value.hint
    assert read_json(region_dir / "ports.json") == first


def test_a_port_that_is_pinned_for_two_processes_is_an_error(region_dir: Path) -> None:
    with pytest.raises(ConflictError, match="for us-east-1/redis and for us-east-1/api"):
        allocate(region_dir, "us-east-1", NAMES, {"redis": 21000, "api": 21000})


def test_the_program_that_uses_a_port_is_described() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        assert f"(pid {os.getpid()})" in describe_holder(port)
    assert is_free(port)
    assert describe_holder(port) == "another program"
