"""Tests that names keep their addresses, and that two stages never share a network."""

from __future__ import annotations

from pathlib import Path

from mjctl.sandbox.stage.addresses import Addresses


def folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir(exist_ok=True)
    return parent / name


def test_a_name_keeps_its_address_after_a_restart(tmp_path: Path) -> None:
    first = Addresses(tmp_path)
    cache, database = first.of("cache"), first.of("database")
    assert cache != database
    assert first.of("cache") == cache
    first.close()
    second = Addresses(tmp_path)
    assert (second.of("database"), second.of("cache")) == (database, cache)
    second.close()


def test_two_stages_have_different_networks(tmp_path: Path) -> None:
    first = Addresses(folder(tmp_path, "a"))
    (folder(tmp_path, "b") / "addresses.json").write_text((tmp_path / "a" / "addresses.json").read_text())
    second = Addresses(tmp_path / "b")
    assert first.network != second.network
    first.close()
    second.close()


def test_an_address_is_free_after_its_name_is_forgotten(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    kept, task = addresses.of("cache"), addresses.of("task")
    addresses.forget("task")
    assert addresses.of("next-task") == task
    assert addresses.of("cache") == kept
    addresses.close()


def test_a_network_has_more_than_250_addresses(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    assigned = {addresses.of(f"task-{number}") for number in range(600)}
    assert len(assigned) == 600
    assert all(address.startswith(f"{addresses.network}.") for address in assigned)
    addresses.close()
