"""The lock of a unit.

Only the run that holds the lock of a unit may change the unit's variables, ports, plan and state.
"""

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

# A waiting run retries a unit's lock on this machine every 0.2 s, and a unit's lock in the state bucket every 2 s. The
# waiting run reports the holder of the lock every 10 s.
_RETRY_SECONDS = 0.2
_REMOTE_RETRY_SECONDS = 2.0
_REPORT_SECONDS = 10.0

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
    """Hold the lock of a unit during the block of a `with` statement.

    The kernel releases the lock on this machine when the process ends, also after a crash.

    If the unit's state is in a state bucket, a second lock in the bucket excludes runs on other machines
    (mjctl.terraform.remote_lock).

    Args:
        stack: The stack of the unit that is locked.
        purpose: The command that needs the lock, which is shown to operators whose runs wait for the lock.
        message: The operator's reason for the command, which is shown to operators whose runs wait for the lock.
        wait_seconds: The longest time to wait for the lock, in seconds.
        on_wait: Called with a line about the holder of the lock when the wait begins, and every 10 seconds.

    Raises:
        LockedError: another run still holds the lock of the unit after `wait_seconds`.
        UnreachableError: the state bucket does not answer.
        PermissionDeniedError: AWS refused access to the state bucket.
        NotFoundError: there is no state bucket.
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
    """Return the note of the run that holds the unit's lock, or None if the lock is free.

    Raises:
        UnreachableError: the state bucket does not answer.
        PermissionDeniedError: AWS refused access to the state bucket.
        NotFoundError: there is no state bucket.
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
    assert stack.remote is not None  # noqa: S101 - the caller has checked
    waiting = _LockWait(stack, deadline, on_wait)
    while True:
        try:
            held.enter_context(_remote_lock(stack.remote).held(note, lambda: _report_lost(stack, on_wait)))
        except HeldElsewhere as other:
            waiting.check(other.holder)
            time.sleep(min(_REMOTE_RETRY_SECONDS, max(0.0, deadline - time.monotonic())))
        else:
            return


def _report_lost(stack: Stack, report: OnWait | None) -> None:
    if report is not None:
        report(
            f"warning: this run lost its lock of {stack.unit}, and another run may work on the unit; Terraform's own "
            f"lock "
            "still protects the state"
        )


def _acquire(lock: FileLock, stack: Stack, holder: Path, deadline: float, on_wait: OnWait | None) -> None:
    waiting = _LockWait(stack, deadline, on_wait)
    while True:
        try:
            lock.acquire(timeout=max(0.0, min(_RETRY_SECONDS, deadline - time.monotonic())))
        except Timeout:
            waiting.check(read_json(holder))
        else:
            return


class _LockWait:
    """Reports the holder of a unit's lock while this run waits, and ends the wait at its deadline."""

    def __init__(self, stack: Stack, deadline: float, on_wait: OnWait | None) -> None:
        self._stack = stack
        self._deadline = deadline
        self._on_wait = on_wait
        self._next_report = time.monotonic()

    def check(self, holder: dict[str, object]) -> None:
        """Report the holder of the lock if the last report is 10 seconds old.

        Raises:
            LockedError: this run has waited as long as the caller of `unit_lock` allows.
        """
        description = _describe(holder)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise LockedError(
                f"another run works on {self._stack.unit}: {description}",
                where=self._stack.where,
                hint="wait until the other run ends (`--lock-timeout SECONDS`), or stop the other run with Ctrl-C",
            ) from None
        if self._on_wait is not None and time.monotonic() >= self._next_report:
            self._next_report += _REPORT_SECONDS
            self._on_wait(f"waiting up to {left:.0f} s for {self._stack.unit}: {description}")


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
        return "by an unknown process"
    why = f": {holder['message']}" if holder.get("message") else ""
    # Replace missing facts by "?", because the holder's note may be damaged, or may come from another version of mjctl.
    known = {name: holder.get(name, "?") for name in ("purpose", "user", "host", "pid", "since")}
    return "`{purpose}` by {user}@{host}, pid {pid}, since {since}".format_map(known) + why
