"""Removes the lock of a Terraform state after the process that held the lock has died."""

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
    """Remove the state lock of a unit if no process holds it any more.

    Args:
        unit: The name of the unit.
        lock_id: The id of the lock to remove. A lock of another machine is removed only with its id, and None is enough
            for a lock of this machine.

    Returns:
        A sentence that says which lock was found and removed.

    Raises:
        LockedError: A process still uses the lock, or another machine holds the lock and `lock_id` is None or another
            id.
    """
    stack = Stack.of_unit(workspace, environment, unit)
    holder = held_by(stack)
    if holder is not None:
        raise LockedError(
            f"another run works on {unit}: `{holder.get('purpose')}` by {holder.get('user')}@{holder.get('host')}, "
            f"pid {holder.get('pid')}",
            where=stack.where,
            hint="wait until the other run ends, or stop the other run with Ctrl-C, which releases the lock too",
        )
    if stack.remote is not None:
        return _unlock_remote(stack, stack.remote, lock_id)
    return await _unlock_local(stack, lock_id)


def _unlock_remote(stack: Stack, remote: RemoteState, lock_id: str | None) -> str:
    """Remove the lock of a state in the state bucket, which a killed run or a Terraform without mjctl has left."""
    note = remote.lock()
    if note is None:
        return f"nothing to unlock: {stack.unit} has no lock"
    # A damaged lock note has no id. To remove a damaged lock, the operator gives the word `damaged` instead of an id.
    noted_id, holder = str(note.get("ID") or _DAMAGED), str(note.get("Who", "an unknown process"))
    if lock_id is None and holder != f"{user_name()}@{socket.gethostname()}":
        raise LockedError(
            f"{holder} has locked the state since {note.get('Created', 'an unknown time')}, on another machine",
            where=stack.where,
            hint=f"make sure that no Terraform of {holder} runs any more, then: "
            f"`mjctl unlock --env {stack.environment} --region {stack.unit} --id {noted_id}`",
        )
    if lock_id is not None and lock_id != noted_id:
        raise LockedError(
            f"the state has another lock than {lock_id}: {noted_id} by {holder}",
            where=stack.where,
            hint=f"another process has locked the state meanwhile; `mjctl unlock --env {stack.environment} "
            f"--region {stack.unit}` shows the new lock",
        )
    remote.remove_lock()
    return f"removed lock {noted_id} by {holder}: its holder had ended without releasing the lock"


async def _unlock_local(stack: Stack, lock_id: str | None) -> str:
    """Remove the lock note of a state file on this machine.

    The kernel releases the lock of the state file when the Terraform process ends. A killed Terraform leaves only the
    lock note, which names the process.
    """
    note = stack.state_file.with_name(f".{stack.state_file.name}.lock.info")
    if lock_id is None and not note.exists():
        return f"nothing to unlock: {stack.unit} has no lock"
    noted_id = lock_id or _noted_id(note)
    if _kernel_lock_is_free(stack):
        note.unlink(missing_ok=True)
        lock = f"lock {noted_id}" if noted_id else "a damaged lock note"
        return f"removed {lock}: its holder had ended without releasing the lock"
    if not noted_id:
        raise LockedError(
            "a Terraform process has locked the state, and the lock note of the process is damaged",
            where=f"{stack.where}, {note}",
            hint=f"wait until the Terraform process has ended, or end it; then repeat `mjctl unlock --env "
            f"{stack.environment} --region {stack.unit}`",
        )
    await operations.force_unlock(Runner(find_engine(), Cancellation()), stack, noted_id)
    return f"removed lock {noted_id}"


def _noted_id(note: Path) -> str:
    """Return the id in a lock note, or "" if a power failure left the note empty or damaged."""
    try:
        return str(json.loads(note.read_bytes())["ID"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return ""


def _kernel_lock_is_free(stack: Stack) -> bool:
    """Return True if no process holds the fcntl lock of the state file, which Terraform sets."""
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
