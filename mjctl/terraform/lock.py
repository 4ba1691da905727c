"""One run at a time on a region: its variables, ports, plan and state belong together."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from mjctl.models.errors import LockedError
from mjctl.terraform.stack import Stack, explained_disk_errors, write_private

# How often a waiting run looks, and how often it says that it still waits.
_LOOK_SECONDS = 0.2
_SAY_SECONDS = 10.0

OnWait = Callable[[str], None]


@contextmanager
def region_lock(
    stack: Stack,
    purpose: str,
    *,
    message: str | None = None,
    wait_seconds: float = 0,
    on_wait: OnWait | None = None,
) -> Iterator[None]:
    """Hold the region for `purpose`. The kernel lets go of it when this process dies, however it dies.

    `message` tells others why; `on_wait` hears who holds it when the wait begins, and every ten seconds from then on.

    Raises:
        LockedError: another process holds it still after `wait_seconds`.
    """
    stack.prepare()
    path = stack.terraform_dir / "mjctl.lock"
    holder = stack.terraform_dir / "mjctl.lock.json"
    lock = FileLock(path, mode=0o600)
    with explained_disk_errors(str(path)):
        _acquire(lock, stack, holder, wait_seconds, on_wait)
    try:
        write_private(holder, json.dumps(_self(purpose, message)))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def held_by(stack: Stack) -> dict[str, object] | None:
    """Who holds the region now, None when nobody does."""
    path = stack.terraform_dir / "mjctl.lock"
    if not path.exists():
        return None
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _holder(stack.terraform_dir / "mjctl.lock.json")
    lock.release()
    return None


def _acquire(
    lock: FileLock, stack: Stack, holder: os.PathLike[str], wait_seconds: float, on_wait: OnWait | None
) -> None:
    deadline = time.monotonic() + wait_seconds
    next_word = time.monotonic()
    while True:
        left = deadline - time.monotonic()
        try:
            lock.acquire(timeout=max(0.0, min(_LOOK_SECONDS, left)))
        except Timeout:
            said = _describe(_holder(holder))
            if left <= 0:
                raise LockedError(
                    f"the region is being worked on: {said}",
                    where=stack.where,
                    hint="wait for it, give --lock-timeout SECONDS, or stop that process with Ctrl-C",
                ) from None
            if on_wait is not None and time.monotonic() >= next_word:
                next_word += _SAY_SECONDS
                on_wait(f"waiting up to {max(0.0, left):.0f} s for {stack.region}: {said}")
        else:
            return


def _self(purpose: str, message: str | None) -> dict[str, object]:
    return {
        "purpose": purpose,
        "message": message,
        "pid": os.getpid(),
        "user": getpass.getuser(),
        "program": os.path.basename(sys.argv[0]),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _holder(path: os.PathLike[str]) -> dict[str, object]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe(holder: dict[str, object]) -> str:
    if not holder:
        return "by a process that has not said its name"
    why = f": {holder['message']}" if holder.get("message") else ""
    return f"`{holder['purpose']}` by {holder['user']}, pid {holder['pid']}, since {holder['since']}{why}"
