"""One run at a time on a region: its variables, ports, plan and state belong together."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from mjctl.models.errors import LockedError
from mjctl.terraform.stack import Stack, explained_disk_errors, write_private


@contextmanager
def region_lock(stack: Stack, purpose: str, *, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the region for `purpose`. The kernel lets go of it when this process dies, however it dies.

    Raises:
        LockedError: another process holds it still after `wait_seconds`.
    """
    stack.prepare()
    path = stack.terraform_dir / "mjctl.lock"
    holder = stack.terraform_dir / "mjctl.lock.json"
    lock = FileLock(path, mode=0o600)
    with explained_disk_errors(str(path)):
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise LockedError(
                f"the region is being worked on: {_describe(_holder(holder))}",
                where=stack.where,
                hint="wait for it, give --lock-timeout SECONDS, or stop that process with Ctrl-C",
            ) from None
    try:
        write_private(holder, json.dumps(_self(purpose)))
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


def _self(purpose: str) -> dict[str, object]:
    return {
        "purpose": purpose,
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
    return f"`{holder['purpose']}` by {holder['user']}, pid {holder['pid']}, since {holder['since']}"
