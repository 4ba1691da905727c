"""Computes the desired state of a unit: the Terraform code and its variables.

A unit is a region, or a stack that exists once in an environment (`foundation` and `edge`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mjctl.deploy.observation import Observation, observe
from mjctl.deploy.planner import inputs
from mjctl.deploy.releases.store import ReleaseEntry, ReleaseStore, UnitReleases
from mjctl.models.environment import Environment
from mjctl.models.errors import NotFoundError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack


@dataclass(frozen=True)
class DesiredState:
    """Describes what a unit shall be after the next apply.

    Attributes:
        stack: The stack with the Terraform code to run.
        variables: The Terraform variables of the unit.
        release: The release that the unit has after the apply, or None if it is unknown.
        notes: Lines for the operator about missing parts that the apply repairs, and about parts that could not be
            compared.
    """

    stack: Stack
    variables: dict[str, Any]
    release: Release | None = None
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Return the name of the unit."""
        return self.stack.unit

    @property
    def revision(self) -> str | None:
        """Return the revision of the release, or None without a release."""
        return self.release.revision if self.release else None


class Planner(ABC):
    """Computes the desired state of a unit for a deploy, a rollback, a scale command and a drift check.

    The methods of a planner do not change deployed units, but some methods reserve ports and copy code into the release
    store.
    """

    def __init__(self, workspace: Workspace, environment: Environment, store: ReleaseStore) -> None:
        self._workspace = workspace
        self._environment = environment
        self._store = store
        self._stacks: dict[str, Stack] = {}

    def units(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Return the units that a deploy of `regions` changes, in the order in which they are applied."""
        return tuple(regions)

    def waits_for(self, unit: str, units: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - see ProductionPlanner
        """Return the units in `units` that must be applied before `unit` can be planned, or () if there are none."""
        return ()

    def stack(self, unit: str) -> Stack:
        """Return the stack of a unit with the code of the working tree.

        The planner creates the Stack object of a unit only once, so that it opens the AWS account only once.
        """
        if unit not in self._stacks:
            self._stacks[unit] = Stack.of_unit(self._workspace, self._environment, unit)
        return self._stacks[unit]

    @abstractmethod
    def for_release(self, unit: str, release: Release) -> DesiredState:
        """Return the desired state for a deploy of `release`, which is the release of the working tree.

        Raises:
            ConflictError: The code has changed since `release` was computed, or another unit has not published an
                output that `unit` needs.
        """

    def for_last_apply(self, unit: str) -> DesiredState:
        """Return the desired state of the unit's last apply; a plan to this state shows the drift since the last apply.

        Raises:
            NotFoundError: No deploy of the unit was ever completed, or the code of the last deploy is not kept any
                more.
        """
        stack = self.stack(unit)
        variables = stack.applied_variables()
        if variables is None:
            raise NotFoundError(
                f"no deploy of {unit} was ever completed, so there is no earlier state to use",
                where=stack.where,
                hint=f"deploy {unit} first: `mjctl deploy --env {stack.environment} "
                + (f"--region {unit}`" if unit in self._environment.regions else "--all-regions`"),
            )
        entry = UnitReleases(stack).current()
        if entry is None:
            return DesiredState(stack, variables)
        return DesiredState(self._store.restored(stack, entry), variables, entry.release)

    @abstractmethod
    def for_rollback(self, unit: str, entry: ReleaseEntry) -> DesiredState:
        """Return the desired state for a rollback to an earlier release.

        The release in `entry` determines the Terraform code, the game's code and the variables. If `mjctl servers
        scale` has set the number of game servers, a rollback keeps that number.

        Raises:
            NotFoundError: The code of the release is not kept any more.
        """

    @abstractmethod
    def for_scale(self, unit: str, count: int) -> DesiredState:
        """Return the desired state of the unit's last apply, changed to `count` game servers in each zone.

        Raises:
            NotFoundError: No deploy of the region was ever completed.
        """


class LocalPlanner(Planner):
    """Computes the desired state of regions that run as processes on this machine."""

    def for_release(self, unit: str, release: Release) -> DesiredState:
        return self._for_release(unit, release, observe(self.stack(unit)))

    def for_destroy(self, unit: str, release: Release) -> DesiredState:
        """Return the desired state for a destroy, without a comparison of the region's processes and data stores."""
        return self._for_release(unit, release, Observation())

    def _for_release(self, unit: str, release: Release, observation: Observation) -> DesiredState:
        self._store.keep(release)
        stack = self.stack(unit)
        # Terraform runs the copy of the code in the release store, which contains only files that the release's digest
        # covers.
        stack = replace(stack, source_dir=self._store.source_dir(release, stack.name), digest=release.terraform)
        stack.prepare()
        variables = inputs.local_variables(
            self._environment, stack, release, self._store.game_dir(release), self._store.web_dir(release), observation
        )
        return DesiredState(stack, variables, release, _notes(observation))

    def for_last_apply(self, unit: str) -> DesiredState:
        """Return the desired state of the region's last apply, with new epochs for the parts that are missing now.

        Raises:
            NotFoundError: No deploy of the region was ever completed, or the code of the last deploy is not kept any
                more.
            UnreachableError: A data store does not answer, so its drift is unknown.
        """
        desired = super().for_last_apply(unit)
        observation = observe(desired.stack)
        if observation.failure is not None:
            raise observation.failure
        epochs = inputs.epochs(desired.stack, list(desired.variables["epochs"]), observation)
        return replace(desired, variables={**desired.variables, "epochs": epochs}, notes=_notes(observation))

    def for_rollback(self, unit: str, entry: ReleaseEntry) -> DesiredState:
        stack = self._store.restored(self.stack(unit), entry)
        variables = dict(entry.variables)
        scaled = inputs.servers_per_zone(stack)
        if scaled is not None:
            variables["game"] = {**variables["game"], "servers_per_zone": scaled}
        observation = observe(stack)
        variables = inputs.on_this_machine(self._environment, stack, variables, observation)
        return DesiredState(stack, variables, entry.release, _notes(observation))

    def for_scale(self, unit: str, count: int) -> DesiredState:
        desired = super().for_last_apply(unit)
        observation = observe(desired.stack)
        variables = {**desired.variables, "game": {**desired.variables["game"], "servers_per_zone": count}}
        variables = inputs.on_this_machine(self._environment, desired.stack, variables, observation)
        return replace(desired, variables=variables, notes=_notes(observation))


def _notes(observation: Observation) -> tuple[str, ...]:
    return (*observation.notes, str(observation.failure)) if observation.failure is not None else observation.notes
