"""What is done to a stack: init, plan, apply, destroy, output, unlock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mjctl.files import write_private
from mjctl.models.deployment import Change
from mjctl.models.errors import ConflictError, LockedError, TerraformError
from mjctl.terraform.events import ChangeSummary, Event
from mjctl.terraform.plan_file import SavedPlan
from mjctl.terraform.runner import OnEvent, Runner
from mjctl.terraform.stack import Stack

_CHANGES = 2


@dataclass(frozen=True)
class PlanResult:
    """`changes` is empty when the world is as wanted; `saved` is the sealed file to apply."""

    changes: tuple[Change, ...]
    summary: ChangeSummary
    saved: SavedPlan
    pending: bool


def own_plan(stack: Stack) -> SavedPlan:
    """Return the plan file that is used unless the caller names another."""
    return SavedPlan(stack.terraform_dir / "plan.tfplan")


async def init(runner: Runner, stack: Stack) -> bool:
    """Initialise the stack's data folder unless that was done already for this code, backend and engine.

    Returns whether Terraform was run.
    """
    stamp = stack.terraform_dir / "init.stamp"
    wanted = hashlib.sha256(
        "\0".join([stack.source_digest(), json.dumps(stack.backend_config), runner.engine.version]).encode()
    ).hexdigest()
    # The note of the chosen providers lies with the code, and every release has a copy of its own.
    chosen = stack.lock_file.is_file() or not (stack.data_dir / "providers").is_dir()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and stack.data_dir.is_dir() and chosen:
        return False
    await runner.run(
        stack,
        "init",
        options={"input": False, "no_color": _flag(), "reconfigure": _flag(), "backend_config": stack.backend_config},
    )
    write_private(stamp, wanted)
    return True


async def move_state(runner: Runner, stack: Stack) -> None:
    """Initialise the stack and copy the state from the backend that its data folder knows into the present one."""
    options = {"input": False, "no_color": _flag(), "migrate_state": _flag(), "force_copy": _flag()}
    await runner.run(stack, "init", options={**options, "backend_config": stack.backend_config})


async def plan(
    runner: Runner,
    stack: Stack,
    variables: Mapping[str, Any],
    on_event: OnEvent,
    *,
    destroy: bool = False,
    saved: SavedPlan | None = None,
) -> PlanResult:
    """Plan the stack with `variables` and seal the plan file; `saved` names another one than the stack's own.

    Raises:
        TerraformError, LockedError, Interrupted: see Runner.run.
    """
    write_private(stack.variables_file, json.dumps(variables, indent=2, sort_keys=True))
    saved = saved or own_plan(stack)
    saved.remove()
    changes: list[Change] = []

    def take(event: Event) -> None:
        if isinstance(event, Change) and event.action != "noop":
            changes.append(event)
        on_event(event)

    outcome = await runner.run(
        stack,
        "plan",
        options={
            "json": _flag(),
            "input": False,
            "detailed_exitcode": _flag(),
            "destroy": _flag() if destroy else None,
            "var_file": str(stack.variables_file),
            "out": str(saved.path),
            "parallelism": stack.parallelism,
        },
        on_event=take,
        good_codes=(0, _CHANGES),
    )
    saved.seal(stack)
    summary = outcome.summary("plan") or outcome.summary("destroy") or ChangeSummary(0, 0, 0, "plan")
    return PlanResult(tuple(changes), summary, saved, pending=outcome.code == _CHANGES)


async def apply(runner: Runner, stack: Stack, saved: SavedPlan, on_event: OnEvent) -> ChangeSummary:
    """Verify the saved plan, apply it, remove it.

    Raises:
        ConflictError: the plan does not fit any more; nothing was changed.
        TerraformError, LockedError, Interrupted: see Runner.run.
    """
    saved.verify(stack)
    try:
        outcome = await runner.run(
            stack,
            "apply",
            str(saved.path),
            options={"json": _flag(), "input": False, "parallelism": stack.parallelism},
            on_event=on_event,
        )
    except TerraformError as error:
        if "Saved plan is stale" in error.what:
            raise ConflictError(
                "the saved plan is stale: the state has moved since",
                where=stack.where,
                hint="make a new plan: `mjctl plan --region REGION --out DIR`, or deploy without a saved one",
            ) from None
        raise
    finally:
        saved.remove()
    stack.remember_applied()
    return outcome.summary("apply") or outcome.summary("destroy") or ChangeSummary(0, 0, 0, "apply")


async def show(runner: Runner, stack: Stack, saved: SavedPlan) -> dict[str, Any]:
    """A saved plan as Terraform's plan JSON. It holds secrets in clear: see mjctl.terraform.details."""
    outcome = await runner.run(stack, "show", str(saved.path), options={"json": _flag()})
    shown: dict[str, Any] = json.loads(outcome.stdout)
    return shown


async def force_unlock(runner: Runner, stack: Stack, lock_id: str) -> None:
    """Remove a state lock whose holder is gone.

    Raises:
        LockedError: the holder is alive, or the id is another one.
    """
    try:
        await runner.run(stack, "force-unlock", lock_id, options={"force": _flag()})
    except TerraformError as error:
        raise LockedError("the lock was not removed", where=stack.where, hint=error.what) from None


def _flag() -> Any:
    from python_terraform import IsFlagged

    return IsFlagged
