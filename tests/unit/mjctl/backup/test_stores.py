"""Tests the functions of tables, cache, database and destination that need no running service."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from mjctl.backup import cache, tables
from mjctl.backup.database import _Lines
from mjctl.backup.destination import Destination
from mjctl.backup.streams import stream
from mjctl.backup.tally import RestoreMoment, Tally
from mjctl.clients.boto import RegionClients
from mjctl.clients.objects import DirectoryStore
from mjctl.models.errors import ConflictError, UsageError
from tests.unit.mjctl.conftest import MakeContract


def test_equal_items_have_equal_records() -> None:
    item = {"id": {"S": "a"}, "tags": {"SS": ["x", "y"]}, "deep": {"L": [{"M": {"n": {"NS": ["2", "1"]}}}]}}
    other = {"deep": {"L": [{"M": {"n": {"NS": ["1", "2"]}}}]}, "tags": {"SS": ["y", "x"]}, "id": {"S": "a"}}
    assert tables.encode_item(item) == tables.encode_item(other)
    assert tables.decode_item(tables.encode_item(item))["tags"] == {"SS": ["x", "y"]}
    # The encoding of a list keeps the order of its elements.
    assert tables.encode_item({"l": {"L": [{"N": "1"}, {"N": "2"}]}}) != tables.encode_item(
        {"l": {"L": [{"N": "2"}, {"N": "1"}]}}
    )


def test_every_type_of_attribute_survives_encoding_and_decoding() -> None:
    item = {
        "s": {"S": "ä\n"},
        "n": {"N": "1.50"},
        "b": {"B": b"\x00\xff"},
        "t": {"BOOL": True},
        "z": {"NULL": True},
        "m": {"M": {"S": {"S": "a name like a type"}}},
        "l": {"L": []},
        "bs": {"BS": [b"1", b"2"]},
    }
    assert tables.decode_item(tables.encode_item(item)) == item


def test_globs_select_namespaces() -> None:
    names = ["leaderboard", "lobby", "profile", "sessions"]
    assert cache.select(names, ["*"]) == names
    assert cache.select(names, ["*", "!leaderboard", "!profile"]) == ["lobby", "sessions"]
    assert cache.select(names, ["*", "!l*", "lobby"]) == ["lobby", "profile", "sessions"]
    assert cache.select(names, []) == []


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_lines_do_not_depend_on_the_size_of_the_pieces(size: int) -> None:
    data = b"a\t1\nbb\t\\N\n\nccc\\nd\t2\n"
    lines: list[bytes] = []

    async def emit(batch: list[bytes]) -> None:
        lines.extend(batch)

    splitter = _Lines(emit)
    for start in range(0, len(data), size):
        await splitter.feed(data[start : start + size])
    await splitter.end()
    assert lines == [b"a\t1", b"bb\t\\N", b"", b"ccc\\nd\t2"]


async def test_a_stream_yields_all_items_and_then_raises_the_error() -> None:
    async def produce(emit: Callable[[int], Awaitable[None]]) -> None:
        for number in range(20):
            await emit(number)
        raise RuntimeError("after all")

    seen = []

    async def read() -> None:
        async for number in stream(produce):
            seen.append(number)

    with pytest.raises(RuntimeError, match="after all"):
        await read()
    assert seen == list(range(20))


async def test_a_closed_stream_stops_its_producer() -> None:
    stopped = asyncio.Event()

    async def produce(emit: Callable[[int], Awaitable[None]]) -> None:
        try:
            while True:
                await emit(1)
        finally:
            stopped.set()

    numbers = stream(produce)
    async for _ in numbers:
        break
    await numbers.aclose()
    assert stopped.is_set()


def test_records_that_expire_soon_are_counted_and_not_compared() -> None:
    clock = RestoreMoment(now_ms=1_000)
    expiry: dict[bytes, int | None] = {b"expired": 999, b"soon": 2_000, b"late": 10**12, b"never": None}
    archive, restored = Tally(clock, expiry.__getitem__), Tally(clock, expiry.__getitem__)
    assert archive.take(list(expiry)) == [b"soon", b"late", b"never"]
    assert (archive.seen, archive.expired, archive.expiring, archive.durable.records) == (4, 1, 1, 2)
    restored.take([b"never", b"late"])
    assert restored.equals(archive)
    restored.take([b"soon", b"soon"])
    assert not restored.equals(archive)


@pytest.mark.parametrize("name", ["", "Review", "a_b", "-a", "a.b", "x" * 16])
def test_a_scratch_copy_with_an_invalid_name_is_refused(make_contract: MakeContract, name: str) -> None:
    with pytest.raises(UsageError):
        Destination(make_contract(), cast(RegionClients, None), name)


def test_a_scratch_copy_has_its_own_table_and_database_names(make_contract: MakeContract) -> None:
    copy = Destination(make_contract(), cast(RegionClients, None), "new-2")
    assert copy.table("matches") == "arena-test-scratch.new-2.matches"
    assert copy.database == "scratch_new_2"


def test_a_listing_at_the_same_moment_does_not_stop_a_writer(tmp_path: Path) -> None:
    # A listing calls `is_claimed`, which holds the lock of the backup's folder for a moment.
    store = DirectoryStore(tmp_path)
    (tmp_path / "b").mkdir()
    probe = os.open(tmp_path / "b", os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_EX)
    threading.Timer(0.2, os.close, [probe]).start()
    with store.claim("b"):
        assert store.is_claimed("b") is True


def test_a_folder_that_another_process_writes_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mjctl.clients.objects._PROBE_SECONDS", 0.1)
    store = DirectoryStore(tmp_path)
    with store.claim("b"), pytest.raises(ConflictError), store.claim("b"):
        pass
