"""Tests that names keep their IP addresses, and that two stages never use the same network of loopback addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_forgotten_address_is_used_again_after_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.sandbox.stage.addresses._HOSTS", 3)
    addresses = Addresses(tmp_path)
    kept, task = addresses.of("cache"), addresses.of("task")
    addresses.forget("task")
    addresses.close()
    addresses = Addresses(tmp_path)
    assert addresses.of("next-task") not in (kept, task)
    assert addresses.of("last-task") == task
    assert addresses.of("cache") == kept
    addresses.close()


def test_all_names_below_a_prefix_can_be_forgotten(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    cache, task = addresses.of("cache"), addresses.of("arn:aws:ecs:task")
    addresses.forget_below("arn:aws:ecs:")
    assert addresses.of("arn:aws:ecs:task") != task
    assert addresses.of("cache") == cache
    addresses.close()


def test_a_network_has_more_than_250_addresses(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    assigned = {addresses.of(f"task-{number}") for number in range(600)}
    assert len(assigned) == 600
    assert all(address.startswith(f"{addresses.network}.") for address in assigned)
    addresses.close()
