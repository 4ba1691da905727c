"""Removing a state lock whose holder is gone."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from mjctl.models.account import user_name
from mjctl.models.environment import Environment
from mjctl.models.errors import LockedError
from mjctl.models.workspace import Workspace
from mjctl.terraform import operations
from mjctl.terraform.engine import find_engine
from mjctl.terraform.lock import held_by
from mjctl.terraform.remote_state import RemoteState
from mjctl.terraform.runner import Cancellation, Runner
from mjctl.terraform.stack import Stack

_DAMAGED = "damaged"


async def unlock_region(workspace: Workspace, environment: Environment, unit: str, lock_id: str | None) -> str:
    """Remove the unit's lock if nobody holds it any more; returns what was found and done, in a sentence.

    Raises:
        LockedError: the holder is alive, or may be: it is another machine's, and `lock_id` does not name it.
    """
    stack = Stack.of_unit(workspace, environment, unit)
    holder = held_by(stack)
    if holder is not None:
        raise LockedError(
            f"{unit} is being worked on: `{holder.get('purpose')}` by {holder.get('user')}@{holder.get('host')}, "
            f"pid {holder.get('pid')}",
            where=stack.where,
            hint="wait for it, or stop it with Ctrl-C: it then releases the lock by itself",
        )
    if stack.remote is not None:
        return _unlock_remote(stack, stack.remote, lock_id)
    return await _unlock_local(stack, lock_id)


def _unlock_remote(stack: Stack, remote: RemoteState, lock_id: str | None) -> str:
    """No run of mjctl holds the unit: what is left is the lock of one that died, or of somebody's plain Terraform."""
    note = remote.lock()
    if note is None:
        return f"nothing to unlock: no lock is left on {stack.unit}"
    # A damaged note names no id; the operator then confirms with this word.
    found, who = str(note.get("ID") or _DAMAGED), str(note.get("Who", "an unknown process"))
    if lock_id is None and who != f"{user_name()}@{socket.gethostname()}":
        raise LockedError(
            f"the state is locked by {who} since {note.get('Created', 'an unknown time')}, on another machine",
            where=stack.where,
            hint=f"if no Terraform works there any more: `mjctl unlock --env {stack.environment} "
            f"--region {stack.unit} --id {found}`",
        )
    if lock_id is not None and lock_id != found:
        raise LockedError(
            f"the lock is another one than {lock_id}: {found} by {who}",
            where=stack.where,
            hint="somebody has taken it since; look again",
        )
    remote.remove_lock()
    return f"lock {found} by {who} was a leftover of a run that is gone; removed"


async def _unlock_local(stack: Stack, lock_id: str | None) -> str:
    """A state file on this disk is locked by the kernel for as long as its holder lives, so what outlives a killed
    Terraform is only its note of who held it."""
    note = stack.state_file.with_name(f".{stack.state_file.name}.lock.info")
    if lock_id is None and not note.exists():
        return "nothing to unlock: no lock is left on this region"
    found = lock_id or _noted_id(note)
    if _kernel_lock_is_free(stack):
        note.unlink(missing_ok=True)
        named = f"lock {found}" if found else "a damaged lock note"
        return f"{named} was a leftover of a run that is gone; removed"
    if not found:
        raise LockedError(
            "a Terraform process holds the state, and its lock note is damaged",
            where=f"{stack.where}, {note}",
            hint=f"wait until that process has ended, or end it; then repeat `mjctl unlock --env "
            f"{stack.environment} --region {stack.unit}`",
        )
    await operations.force_unlock(Runner(find_engine(), Cancellation()), stack, found)
    return f"lock {found} removed"


def _noted_id(note: Path) -> str:
    """Return the lock's id; "" if the note is empty or damaged, as a power failure leaves it."""
    try:
        found = json.loads(note.read_bytes())
        return str(found["ID"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return ""


def _kernel_lock_is_free(stack: Stack) -> bool:
    """Ask the kernel, as Terraform does: fcntl on the state file."""
    import fcntl

    try:
        with open(stack.state_file, "r+b") as state:
            fcntl.lockf(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(state, fcntl.LOCK_UN)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
