"""What a unit (a region, or a stack that exists once) is to become: which code, with which variables."""

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
    """`stack` names the Terraform code that is run; `release` is what the unit has afterwards.

    `notes`: lines for people on what was found in the world and is repaired.
    """

    stack: Stack
    variables: dict[str, Any]
    release: Release | None = None
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        return self.stack.unit

    @property
    def revision(self) -> str | None:
        return self.release.revision if self.release else None


class Planner(ABC):
    """The ways to want something of a unit. Every method only reads, apart from choosing ports and keeping code."""

    def __init__(self, workspace: Workspace, environment: Environment, store: ReleaseStore) -> None:
        self._workspace = workspace
        self._environment = environment
        self._store = store
        self._stacks: dict[str, Stack] = {}

    def units(self, regions: Sequence[str]) -> tuple[str, ...]:
        """What a deploy of `regions` works on, in the order in which it is applied."""
        return tuple(regions)

    def waits_for(self, unit: str, units: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - see ProductionIntents
        """Which of `units` must be applied before `unit` can be planned; () when it can be planned now."""
        return ()

    def stack(self, unit: str) -> Stack:
        """Return the stack of a unit, with the code of the working tree. On AWS the account is opened only once."""
        if unit not in self._stacks:
            self._stacks[unit] = Stack.of_unit(self._workspace, self._environment, unit)
        return self._stacks[unit]

    @abstractmethod
    def for_release(self, unit: str, release: Release) -> DesiredState:
        """The working tree's code and the environment's file, as they are now."""

    def for_last_apply(self, unit: str) -> DesiredState:
        """What the last apply wanted: whatever a plan of it shows has changed in the world.

        Raises:
            NotFoundError: the unit was never wholly deployed.
        """
        stack = self.stack(unit)
        variables = stack.applied_variables()
        if variables is None:
            raise NotFoundError(
                f"nothing to compare with: {unit} was never wholly deployed",
                where=stack.where,
                hint=f"`mjctl deploy --env {stack.environment} "
                + (f"--region {unit}`" if unit in self._environment.regions else "--all-regions`"),
            )
        entry = UnitReleases(stack).current()
        if entry is None:
            return DesiredState(stack, variables)
        return DesiredState(self._store.restored(stack, entry), variables, entry.release)

    @abstractmethod
    def for_rollback(self, unit: str, entry: ReleaseEntry) -> DesiredState:
        """An earlier release of the unit: its Terraform code, game code and variables; the scale set since stays.

        Raises:
            NotFoundError: its code is not kept here any more.
        """

    @abstractmethod
    def for_scale(self, unit: str, count: int) -> DesiredState:
        """What was last applied, with `count` game servers a zone.

        Raises:
            NotFoundError: the region was never wholly deployed.
        """


class LocalPlanner(Planner):
    """Regions as processes on this machine."""

    def for_release(self, unit: str, release: Release) -> DesiredState:
        return self._wanted(unit, release, observe(self.stack(unit)))

    def for_destroy(self, unit: str, release: Release) -> DesiredState:
        """As `wanted`, for a destroy: what the region holds is not compared with anything."""
        return self._wanted(unit, release, Observation())

    def _wanted(self, unit: str, release: Release, seen: Observation) -> DesiredState:
        self._store.keep(release)
        stack = self.stack(unit)
        # Terraform runs the kept copy: it cannot read a file that the release does not cover.
        stack = replace(stack, source_dir=self._store.source_dir(release, stack.name), digest=release.terraform)
        stack.prepare()
        variables = inputs.local_variables(
            self._environment, stack, release, self._store.game_dir(release), self._store.web_dir(release), seen
        )
        return DesiredState(stack, variables, release, _notes(seen))

    def for_last_apply(self, unit: str) -> DesiredState:
        """As the base class; also:

        Raises:
            UnreachableError: a data store does not answer, so that no drift can be ruled out.
        """
        desired = super().for_last_apply(unit)
        seen = observe(desired.stack)
        if seen.unseen is not None:
            raise seen.unseen
        epochs = inputs.epochs(desired.stack, list(desired.variables["epochs"]), seen)
        return replace(desired, variables={**desired.variables, "epochs": epochs}, notes=_notes(seen))

    def for_rollback(self, unit: str, entry: ReleaseEntry) -> DesiredState:
        stack = self._store.restored(self.stack(unit), entry)
        variables = dict(entry.variables)
        scaled = inputs.servers_per_zone(stack)
        if scaled is not None:
            variables["game"] = {**variables["game"], "servers_per_zone": scaled}
        seen = observe(stack)
        return DesiredState(
            stack, inputs.on_this_machine(self._environment, stack, variables, seen), entry.release, _notes(seen)
        )

    def for_scale(self, unit: str, count: int) -> DesiredState:
        desired = super().for_last_apply(unit)
        seen = observe(desired.stack)
        variables = {**desired.variables, "game": {**desired.variables["game"], "servers_per_zone": count}}
        variables = inputs.on_this_machine(self._environment, desired.stack, variables, seen)
        return replace(desired, variables=variables, notes=_notes(seen))


def _notes(seen: Observation) -> tuple[str, ...]:
    return (*seen.notes, str(seen.unseen)) if seen.unseen is not None else seen.notes
