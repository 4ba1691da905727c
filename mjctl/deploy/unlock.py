"""Removing a state lock whose holder is gone."""

from __future__ import annotations

import json

from mjctl.models.environment import Environment
from mjctl.models.errors import LockedError
from mjctl.models.workspace import Workspace
from mjctl.terraform import operations
from mjctl.terraform.engine import find_engine
from mjctl.terraform.lock import held_by
from mjctl.terraform.runner import Cancellation, Runner
from mjctl.terraform.stack import Stack


async def unlock_region(workspace: Workspace, environment: Environment, region: str, lock_id: str | None) -> str:
    """Remove the region's lock if nobody holds it any more; returns what was found and done, in a sentence.

    A state file on this disk is locked by the kernel for as long as its holder lives, so what outlives a killed
    Terraform is only its note of who held it.

    Raises:
        LockedError: the holder is alive.
    """
    stack = Stack.of_unit(workspace, environment, region)
    holder = held_by(stack)
    if holder is not None:
        raise LockedError(
            f"the region is being worked on: `{holder.get('purpose')}`, pid {holder.get('pid')}",
            where=stack.where,
            hint="wait for it, or stop it with Ctrl-C: it then releases the lock by itself",
        )
    note = stack.state_file.with_name(f".{stack.state_file.name}.lock.info")
    if lock_id is None and not note.exists():
        return "nothing to unlock: no lock is left on this region"
    found = lock_id or json.loads(note.read_text(encoding="utf-8"))["ID"]
    if _kernel_lock_is_free(stack):
        note.unlink(missing_ok=True)
        return f"lock {found} was a leftover of a run that is gone; removed"
    await operations.force_unlock(Runner(find_engine(), Cancellation()), stack, found)
    return f"lock {found} removed"


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
