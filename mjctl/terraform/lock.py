"""One run at a time on a unit: its variables, ports, plan and state belong together."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mjctl.files import explained_disk_errors, read_json, write_private
from mjctl.models.account import user_name
from mjctl.models.errors import LockedError
from mjctl.terraform.remote_lock import HeldElsewhere, RemoteLock
from mjctl.terraform.remote_state import RemoteState
from mjctl.terraform.stack import Stack

# How often a waiting run looks, and how often it says that it still waits.
_LOOK_SECONDS = 0.2
_REMOTE_LOOK_SECONDS = 2.0
_SAY_SECONDS = 10.0

OnWait = Callable[[str], None]


@contextmanager
def unit_lock(
    stack: Stack,
    purpose: str,
    *,
    message: str | None = None,
    wait_seconds: float = 0,
    on_wait: OnWait | None = None,
) -> Iterator[None]:
    """Hold the unit for `purpose`. The kernel lets go of it when this process dies, however it dies.

    A unit whose state is shared is held for every machine, see mjctl.terraform.remote_lock. `message` tells others why;
    `on_wait` hears who holds it when the wait begins, and every ten seconds from then on.

    Raises:
        LockedError: another run holds it still after `wait_seconds`.
        UnreachableError, PermissionDeniedError, NotFoundError: the state bucket does not answer.
    """
    deadline = time.monotonic() + wait_seconds
    stack.prepare()
    path = stack.terraform_dir / "mjctl.lock"
    holder = stack.terraform_dir / "mjctl.lock.json"
    lock = FileLock(path, mode=0o600)
    with explained_disk_errors(str(path)):
        _acquire(lock, stack, holder, deadline, on_wait)
    try:
        note = _self(purpose, message)
        write_private(holder, json.dumps(note))
        with ExitStack() as everywhere:
            if stack.remote is not None:
                _acquire_everywhere(everywhere, stack, note, deadline, on_wait)
            yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def held_by(stack: Stack) -> dict[str, object] | None:
    """Who holds the unit now, None when nobody does.

    Raises:
        UnreachableError, PermissionDeniedError, NotFoundError: the state bucket does not answer.
    """
    path = stack.terraform_dir / "mjctl.lock"
    if path.exists():
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return read_json(stack.terraform_dir / "mjctl.lock.json")
        lock.release()
    return _remote_lock(stack.remote).holder() if stack.remote is not None else None


def _remote_lock(remote: RemoteState) -> RemoteLock:
    return RemoteLock(remote.account, f"{remote.key}.mjctl-lock")


def _acquire_everywhere(
    held: ExitStack, stack: Stack, note: dict[str, object], deadline: float, on_wait: OnWait | None
) -> None:
    assert stack.remote is not None  # noqa: S101 - the caller has looked
    waiting = _LockWait(stack, deadline, on_wait)
    while True:
        try:
            held.enter_context(_remote_lock(stack.remote).held(note, lambda: _say_lost(stack, on_wait)))
        except HeldElsewhere as other:
            waiting.look(other.holder)
            time.sleep(min(_REMOTE_LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
        else:
            return


def _say_lost(stack: Stack, say: OnWait | None) -> None:
    if say is not None:
        say(
            f"warning: the lock of {stack.unit} was lost, another run may work on it; Terraform's own lock still "
            "guards the state"
        )


def _acquire(lock: FileLock, stack: Stack, holder: Path, deadline: float, on_wait: OnWait | None) -> None:
    waiting = _LockWait(stack, deadline, on_wait)
    while True:
        try:
            lock.acquire(timeout=max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
        except Timeout:
            waiting.look(read_json(holder))
        else:
            return


class _LockWait:
    """What is said while somebody else holds a unit, and when to give up."""

    def __init__(self, stack: Stack, deadline: float, on_wait: OnWait | None) -> None:
        self._stack = stack
        self._deadline = deadline
        self._on_wait = on_wait
        self._next_word = time.monotonic()

    def look(self, holder: dict[str, object]) -> None:
        """Say who holds it, if it is time to.

        Raises:
            LockedError: the time to wait is over.
        """
        said = _describe(holder)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise LockedError(
                f"{self._stack.unit} is being worked on: {said}",
                where=self._stack.where,
                hint="wait for it, give --lock-timeout SECONDS, or stop that process with Ctrl-C",
            ) from None
        if self._on_wait is not None and time.monotonic() >= self._next_word:
            self._next_word += _SAY_SECONDS
            self._on_wait(f"waiting up to {left:.0f} s for {self._stack.unit}: {said}")


def _self(purpose: str, message: str | None) -> dict[str, object]:
    return {
        "purpose": purpose,
        "message": message,
        "pid": os.getpid(),
        "user": user_name(),
        "host": socket.gethostname(),
        "program": os.path.basename(sys.argv[0]),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _describe(holder: dict[str, object]) -> str:
    if not holder:
        return "by a process that has not said its name"
    why = f": {holder['message']}" if holder.get("message") else ""
    # Another version of mjctl, or a damaged file, may name less.
    known = {name: holder.get(name, "?") for name in ("purpose", "user", "host", "pid", "since")}
    return "`{purpose}` by {user}@{host}, pid {pid}, since {since}".format_map(known) + why
