"""Tests of work in a forked child, with a snapshot of this process's memory."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psutil
import pytest

from mjctl.local.emulator import in_snapshot


async def test_the_child_has_the_memory_of_the_moment_of_the_fork(tmp_path: Path) -> None:
    values = [1]

    def write() -> None:
        time.sleep(0.2)
        (tmp_path / "seen").write_text(f"{values} {os.getpid()}")

    saving = asyncio.create_task(in_snapshot(write))
    await asyncio.sleep(0.05)
    values.append(2)
    await saving
    seen, pid = (tmp_path / "seen").read_text().rsplit(" ", 1)
    assert seen == "[1]"
    assert int(pid) != os.getpid()


async def test_the_failure_of_the_child_is_raised(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os._exit(3)

    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        await in_snapshot(fail)


async def test_a_cancelled_snapshot_kills_the_child(tmp_path: Path) -> None:
    before = psutil.Process().children()
    saving = asyncio.create_task(in_snapshot(lambda: time.sleep(60)))
    await asyncio.sleep(0.2)
    children = [child for child in psutil.Process().children() if child not in before]
    assert children
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert not any(child.is_running() for child in children)


async def test_sockets_of_the_parent_are_closed_in_the_child(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    descriptor = server.sockets[0].fileno()

    def check() -> None:
        try:
            os.fstat(descriptor)
        except OSError:
            (tmp_path / "closed").touch()

    async with server:
        await in_snapshot(check)
    assert (tmp_path / "closed").exists()
