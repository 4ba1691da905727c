"""What can be said of a region at a glance, without asking Terraform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mjctl.deploy.observation import missing_parts
from mjctl.deploy.releases.store import UnitReleases
from mjctl.models.environment import Environment
from mjctl.models.workspace import Workspace
from mjctl.terraform.lock import held_by
from mjctl.terraform.stack import Stack


@dataclass(frozen=True)
class UnitStatus:
    """`state`: `absent`, `partial` (an apply was cut short), `deployed`, or `damaged` (parts of it are gone).

    `revision` is the last that was wholly applied, `standing` the health gate's word on it, `commit` git's.
    `held_by` names the run that works on the region now; `gone` are parts that the state knows and the world does not.
    """

    unit: str
    state: str
    revision: str | None
    commit: str | None
    standing: str | None
    applied_at: str | None
    serial: int | None
    gone: tuple[str, ...]
    held_by: dict[str, object] | None


def unit_status(workspace: Workspace, environment: Environment, unit: str) -> UnitStatus:
    """Read one unit's state, its processes and its lock.

    Raises:
        UnreachableError, PermissionDeniedError: its state is remote, and was not answered for.
    """
    stack = Stack.of_unit(workspace, environment, unit)
    releases = UnitReleases(stack)
    current = releases.current()
    gone = tuple(sorted(missing_parts(stack))) if environment.target == "local" else ()
    return UnitStatus(
        unit=unit,
        state=_state(stack, releases, stack.applied_variables() is not None, gone),
        revision=current.revision if current else None,
        commit=current.release.commit if current else None,
        standing=current.verdict if current else None,
        applied_at=current.applied_at if current else None,
        serial=stack.position().serial,
        gone=gone,
        held_by=held_by(stack),
    )


def unfinished_regions(
    workspace: Workspace, environment: Environment, regions: Sequence[str]
) -> dict[str, dict[str, object] | None]:
    """The regions that are half made, each with the run that works on it now; None if that run was cut short.

    Raises:
        UnreachableError, PermissionDeniedError: its state is remote, and was not answered for.
    """
    found: dict[str, dict[str, object] | None] = {}
    for region in regions:
        stack = Stack.of_unit(workspace, environment, region)
        if _state(stack, UnitReleases(stack), stack.applied_variables() is not None, ()) == "partial":
            found[region] = held_by(stack)
    return found


def _state(stack: Stack, releases: UnitReleases, applied: bool, gone: tuple[str, ...]) -> str:
    if releases.interrupted_revision():
        return "partial"
    if not stack.exists():
        return "absent"
    # A remote state may have been applied by another machine.
    whole = "contract" in stack.outputs() if stack.remote is not None else applied
    if not whole:
        return "partial"
    return "damaged" if gone else "deployed"
