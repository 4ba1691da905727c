"""Ports stay, and never belong to two."""

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
    """A port that another program (this one) listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_ports_are_distinct_and_stay(region_dir: Path) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    assert list(first) == NAMES
    assert len(set(first.values())) == len(NAMES)
    assert all(is_free(port) for port in first.values())
    assert allocate(region_dir, "us-east-1", NAMES, {}) == first
    assert allocate(region_dir, "us-east-1", [*NAMES, "worker"], {}).items() >= first.items()


def test_two_regions_never_share(tmp_path: Path) -> None:
    regions = [tmp_path / str(number) for number in range(4)]
    ports = [port for region in regions for port in allocate(region, "us-east-1", NAMES, {}).values()]
    assert len(set(ports)) == len(ports)


def test_a_kept_port_that_another_program_took_is_exchanged(region_dir: Path, foreign: int) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    (region_dir / "ports.json").write_text(
        (region_dir / "ports.json").read_text().replace(str(first["api"]), str(foreign))
    )
    again = allocate(region_dir, "us-east-1", NAMES, {})
    assert again["api"] != foreign
    assert {name: again[name] for name in NAMES if name != "api"} == {n: first[n] for n in NAMES if n != "api"}


def test_a_pin_is_honoured_even_where_another_process_was(region_dir: Path) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    again = allocate(region_dir, "us-east-1", NAMES, {"api": first["redis"]})
    assert again["api"] == first["redis"]
    assert again["redis"] != first["redis"]


def test_a_pinned_port_in_use_names_the_holder_and_changes_nothing(region_dir: Path, foreign: int) -> None:
    first = allocate(region_dir, "us-east-1", NAMES, {})
    with pytest.raises(
        ConflictError, match=rf"port {foreign}, pinned for us-east-1/api, .*\(pid {os.getpid()}\)"
    ) as caught:
        allocate(region_dir, "us-east-1", NAMES, {"api": foreign})
    assert caught.value.hint
    assert read_json(region_dir / "ports.json") == first


def test_one_port_pinned_twice(region_dir: Path) -> None:
    with pytest.raises(ConflictError, match="for us-east-1/redis and for us-east-1/api"):
        allocate(region_dir, "us-east-1", NAMES, {"redis": 21000, "api": 21000})


def test_a_free_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        assert f"(pid {os.getpid()})" in describe_holder(port)
    assert is_free(port)
    assert describe_holder(port) == "another program"
