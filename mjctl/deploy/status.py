"""Reads the status of units quickly, without running Terraform."""

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
    """Describes the status of one unit.

    Attributes:
        unit: The name of the unit: a region, `foundation` or `edge`.
        state: `absent`, `partial` (the last apply was not completed), `deployed`, or `damaged` (parts are missing).
        revision: The last revision whose apply was completed, or None if no apply was completed.
        commit: The git commit of `revision`, or None if `revision` is None or its commit is unknown.
        standing: The health gate's verdict on `revision`, a value of ReleaseVerdict, or None if no apply was completed.
        applied_at: The time of the last completed apply, in ISO 8601, or None if no apply was completed.
        serial: The serial number of the unit's Terraform state, which grows with each change, or None without a state.
        gone: The parts of a local region that the last apply created and that are missing now.
        held_by: The run that holds the lock of the unit, or None if no run holds the lock.
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
    """Read the status of one unit from its Terraform state, its processes and its lock.

    Raises:
        UnreachableError, PermissionDeniedError: The state bucket does not answer or refuses the request.
    """
    stack = Stack.of_unit(workspace, environment, unit)
    releases = UnitReleases(stack)
    current = releases.current()
    missing = tuple(sorted(missing_parts(stack))) if environment.target == "local" else ()
    return UnitStatus(
        unit=unit,
        state=_state(stack, releases, stack.applied_variables() is not None, missing),
        revision=current.revision if current else None,
        commit=current.release.commit if current else None,
        standing=current.verdict if current else None,
        applied_at=current.applied_at if current else None,
        serial=stack.position().serial,
        gone=missing,
        held_by=held_by(stack),
    )


def unfinished_regions(
    workspace: Workspace, environment: Environment, regions: Sequence[str]
) -> dict[str, dict[str, object] | None]:
    """Return the regions whose last apply was not completed.

    Returns:
        For each region with an uncompleted apply, the run that works on the region now, or None if no run does.

    Raises:
        UnreachableError, PermissionDeniedError: The state bucket does not answer or refuses the request.
    """
    unfinished: dict[str, dict[str, object] | None] = {}
    for region in regions:
        stack = Stack.of_unit(workspace, environment, region)
        if _state(stack, UnitReleases(stack), stack.applied_variables() is not None, ()) == "partial":
            unfinished[region] = held_by(stack)
    return unfinished


def _state(stack: Stack, releases: UnitReleases, applied: bool, missing: tuple[str, ...]) -> str:
    if releases.interrupted_revision():
        return "partial"
    if not stack.exists():
        return "absent"
    # Read from the outputs of a remote state, and not from variables on this machine, whether the unit is deployed,
    # because another machine may have deployed the unit.
    complete = "contract" in stack.outputs() if stack.remote is not None else applied
    if not complete:
        return "partial"
    return "damaged" if missing else "deployed"
