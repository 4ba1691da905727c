"""The operations on a stack: init, plan, apply, show and unlock."""

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
    """Holds the result of `terraform plan` for a stack.

    Attributes:
        changes: The planned changes of resources. Without a change, the deployed resources agree with the code.
        summary: The numbers of resources to create, update and delete.
        saved: The plan file with its seal, which `apply` applies.
        pending: True if the plan changes a resource or anything else, e.g. an output.
        adds_to_outputs: True if the plan adds a part to an existing output.
    """

    changes: tuple[Change, ...]
    summary: ChangeSummary
    saved: SavedPlan
    pending: bool
    adds_to_outputs: bool = False


def own_plan(stack: Stack) -> SavedPlan:
    """Return the plan file that a deploy without a saved plan uses."""
    return SavedPlan(stack.terraform_dir / "plan.tfplan")


async def init(runner: Runner, stack: Stack) -> bool:
    """Run `terraform init` for the stack, unless the last `init` had equal code, backend settings and engine.

    Returns:
        True if `terraform init` was run.

    Raises:
        TerraformError: `terraform init` failed.
        Interrupted: the run was cancelled.
    """
    stamp = stack.terraform_dir / "init.stamp"
    wanted = hashlib.sha256(
        "\0".join([stack.source_digest(), json.dumps(stack.backend_config), runner.engine.version]).encode()
    ).hexdigest()
    # Run `init` again if the lock file .terraform.lock.hcl is missing. The file is next to the Terraform code, and the
    # code of an earlier release may lack the file.
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
    """Run `terraform init` for the stack's backend, and copy the state from the backend of the last `init`."""
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
    """Run `terraform plan` for the stack, and write a seal for the plan file.

    Args:
        runner: Runs Terraform.
        stack: The stack to plan.
        variables: The values of the stack's variables.
        on_event: Called with each message of Terraform.
        destroy: True to plan the destroy of all resources.
        saved: The plan file to write; None for the file that `own_plan` returns.

    Raises:
        TerraformError: Terraform failed.
        LockedError: another run holds the state's lock.
        PermissionDeniedError: AWS refused Terraform's credentials.
        Interrupted: the run was cancelled.
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
    """Verify a saved plan, apply the plan and remove the plan file.

    Raises:
        ConflictError: the state has changed since the plan was made, or the plan was made for another stack;
            `apply` has changed no resource.
        TerraformError: Terraform failed.
        LockedError: another run holds the state's lock.
        PermissionDeniedError: AWS refused Terraform's credentials.
        Interrupted: the run was cancelled.
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
                "the saved plan is stale: the state has changed since the plan was made",
                where=stack.where,
                hint="make a new plan (`mjctl plan --region REGION --out DIR`), or deploy without a saved plan",
            ) from None
        raise
    finally:
        saved.remove()
    stack.remember_applied()
    return outcome.summary("apply") or outcome.summary("destroy") or ChangeSummary(0, 0, 0, "apply")


async def show(runner: Runner, stack: Stack, saved: SavedPlan) -> dict[str, Any]:
    """Return a saved plan as Terraform's plan JSON.

    The plan JSON contains secrets in clear text. mjctl.terraform.details masks the secrets.
    """
    outcome = await runner.run(stack, "show", str(saved.path), options={"json": _flag()})
    shown: dict[str, Any] = json.loads(outcome.stdout)
    return shown


async def force_unlock(runner: Runner, stack: Stack, lock_id: str) -> None:
    """Remove Terraform's lock of the state, which a killed run has left.

    Raises:
        LockedError: `terraform force-unlock` failed, for example because the lock has another id.
    """
    try:
        await runner.run(stack, "force-unlock", lock_id, options={"force": _flag()})
    except TerraformError as error:
        raise LockedError("Terraform did not remove the state's lock", where=stack.where, hint=error.what) from None


def _flag() -> Any:
    from python_terraform import IsFlagged

    return IsFlagged
