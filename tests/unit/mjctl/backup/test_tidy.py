"""Tests with real signals to a real process that repeated Ctrl-C does not stop the clean-up work."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from mjctl.backup.streams import to_its_end

_PROGRAM = """
import asyncio, os, signal, sys, threading, time
from mjctl.backup.tidy import tidy

running, removing = threading.Semaphore(0), threading.Semaphore(0)
pressed = threading.Event()

async def remove(name):
    removing.release()
    while not pressed.is_set():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    print("removed", name, flush=True)

async def region(name):
    try:
        running.release()
        await asyncio.sleep(600)
    finally:
        await {how}(remove(name){more})

async def main():
    async with asyncio.TaskGroup() as group:
        for name in ("one", "two"):
            group.create_task(region(name))

def press():
    for moment in (running, removing):
        moment.acquire()
        moment.acquire()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
    pressed.set()

threading.Thread(target=press, daemon=True).start()
before = signal.getsignal(signal.SIGINT)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is before
    sys.exit(130)
"""


def _run(how: str, more: str = "") -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(how=how, more=more)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


def test_all_regions_are_cleaned_up_and_the_operator_sees_what_is_running() -> None:
    ran = _run("tidy", ', f"removing {name}", leaves="`mjctl backup discard` removes it"')
    assert ran.returncode == 130, ran.stderr
    assert sorted(ran.stdout.splitlines()) == ["removed one", "removed two"]
    lines = ran.stderr.splitlines()
    assert lines[:2] == ["removing one; please wait", "removing two; please wait"]
    assert any(line.startswith("still removing two") and "mjctl backup discard" in line for line in lines)


def test_a_shield_alone_does_not_protect_the_clean_up() -> None:
    """Test asyncio.shield instead of `tidy`.

    If the test fails with a later Python, asyncio.shield protects the clean-up, and `tidy` can be removed.
    """
    assert _run("asyncio.shield").stdout == ""


async def test_a_cancelled_write_has_ended_before_its_object_is_removed() -> None:
    # The write of an object runs in a thread, which a cancellation does not stop.
    written: list[str] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def write() -> None:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.1)
        written.append("object")

    task = asyncio.create_task(to_its_end(asyncio.to_thread(write)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written == ["object"]
