"""Computes the desired state of the production units: foundation, the regions and edge.

The variables of a region contain outputs of foundation. The variables of the edge contain outputs of foundation and of
the regions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mjctl.clients.account import open_account
from mjctl.deploy.planner import aws_inputs, inputs
from mjctl.deploy.planner.desired_state import DesiredState, Planner
from mjctl.deploy.releases.release_artifacts import functions_of, package_of, provide_image
from mjctl.deploy.releases.store import ReleaseEntry, ReleaseStore
from mjctl.models.environment import EDGE, FOUNDATION, Environment
from mjctl.models.errors import ConflictError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack


class ProductionPlanner(Planner):
    """Computes the desired state of the units on AWS or in a sandbox.

    Terraform runs the copy of the code in the release store, because Terraform writes a lock file into the folder of
    the code.
    """

    def __init__(
        self, workspace: Workspace, environment: Environment, store: ReleaseStore, *, only_planned: bool = False
    ) -> None:
        """Open the AWS account of the environment and check the credentials.

        Args:
            workspace: The checkout, and mjctl's home folder on this machine.
            environment: The environment of the units.
            store: The releases of the environment.
            only_planned: True if the plans will not be applied, and therefore need no pushed image of the game server.

        Raises:
            UnreachableError: The sandbox is not up, or AWS does not answer.
            ConfigError: The credentials belong to another account than the environment's file names.
            NotFoundError: The state bucket does not exist, because `mjctl bootstrap` was not run.
        """
        super().__init__(workspace, environment, store)
        self._only_planned = only_planned
        self._account = open_account(workspace, environment)
        self._account.check_identity()
        self._state = aws_inputs.StateStore(self._account.bucket, self._account.state_key_arn())

    def units(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Return foundation, then `regions`, then edge.

        Raises:
            ConflictError: The primary region is neither deployed nor among `regions`.
        """
        primary = self._environment.primary_region
        if primary not in regions and not self.published(primary):
            raise ConflictError(
                f"the primary region {primary} is not deployed, and the databases of all other regions replicate from "
                f"the database in {primary}",
                where=f"environment {self._environment.name}",
                hint=f"add --region {primary}, or deploy {primary} first",
            )
        return (FOUNDATION, *regions, EDGE)

    def waits_for(self, unit: str, units: Sequence[str]) -> tuple[str, ...]:
        if unit == FOUNDATION:
            return ()
        if not self.published(FOUNDATION):
            return (FOUNDATION,)
        if unit != EDGE:
            return ()
        return tuple(name for name in units if name not in (FOUNDATION, EDGE) and not self.published(name))

    def published(self, unit: str) -> dict[str, Any]:
        """Return the outputs of a unit, or {} if no apply of the unit was completed yet."""
        outputs = self.stack(unit).outputs()
        return outputs if "contract" in outputs else {}

    def is_deployed(self, unit: str) -> bool:
        """Return True if an apply of the unit was completed."""
        return bool(self.published(unit))

    def deployed_regions(self) -> tuple[str, ...]:
        """Return the regions whose Terraform state has resources, even if no apply of the region was completed."""
        return tuple(name for name in self._environment.regions if self.stack(name).exists())

    def for_release(self, unit: str, release: Release) -> DesiredState:
        """Return the desired state for a deploy of `release`.

        Raises:
            ConflictError: The code has changed since `release` was computed, or foundation has not published an output
                that `unit` needs.
        """
        self._store.keep(release)
        stack = self.stack(unit)
        stack = replace(stack, source_dir=self._store.source_dir(release, stack.name), digest=release.terraform)
        stack.prepare()
        return DesiredState(stack, self._variables(unit, release, stack), release)

    def for_last_apply(self, unit: str) -> DesiredState:
        desired = super().for_last_apply(unit)
        if desired.release is None or unit in (FOUNDATION, EDGE):
            return desired
        return replace(desired, variables=self._with_package(desired.variables, desired.release, desired.stack))

    def for_rollback(self, unit: str, entry: ReleaseEntry) -> DesiredState:
        stack = self._store.restored(self.stack(unit), entry)
        variables = dict(entry.variables)
        if unit not in (FOUNDATION, EDGE):
            # A rollback changes the code and the sizes of the region, and uses the current outputs of the foundation,
            # which all regions share.
            variables = self._with_package(variables, entry.release, stack)
            variables["foundation"] = self.published(FOUNDATION)["contract"]
            count = inputs.servers_per_zone(stack)
            if count is not None:
                variables["game"] = self._scaled_game(variables, unit, count)
        return DesiredState(stack, variables, entry.release)

    def for_scale(self, unit: str, count: int) -> DesiredState:
        desired = self.for_last_apply(unit)
        return replace(
            desired, variables={**desired.variables, "game": self._scaled_game(desired.variables, unit, count)}
        )

    def without(self, release: Release, leaving: Sequence[str]) -> DesiredState:
        """Return the desired state of an edge that sends no players to the regions `leaving`."""
        desired = self.for_release(EDGE, release)
        regions = {name: part for name, part in desired.variables["regions"].items() if name not in leaving}
        return replace(desired, variables={**desired.variables, "regions": regions})

    async def provide_image(self, unit: str, release: Release, say: Callable[[str], None]) -> None:
        """Check that the registry of the region `unit` has the game server's image of `release`.

        If ECR has not replicated the image to the registry yet, wait, and tell the operator by `say`.

        Raises:
            NotFoundError: the registry of the region does not have the image.
            PermissionDeniedError, UnreachableError: AWS refuses a request or does not answer.
        """
        foundation = (await asyncio.to_thread(self.published, FOUNDATION))["contract"]
        await provide_image(self._workspace, self._environment, release, foundation, unit, say)

    def _with_package(self, variables: Mapping[str, Any], release: Release, stack: Stack) -> dict[str, Any]:
        """Return `variables` with the path of the functions' archive, and build the archive if it is missing."""
        package = variables["functions"]["package"]
        if (stack.source_dir / package["path"]).is_file():
            return dict(variables)
        built = functions_of(self._workspace, self._environment, self._store, release)
        archive = {"path": _relative_path(stack, built.path), "sha256": built.sha256_base64}
        functions = {**variables["functions"], "package": {**package, **archive}}
        return {**variables, "functions": functions}

    def _scaled_game(self, variables: dict[str, Any], unit: str, count: int) -> dict[str, Any]:
        return {**variables["game"], **aws_inputs.tasks(self._environment, unit, count)}

    def _variables(self, unit: str, release: Release, stack: Stack) -> dict[str, Any]:
        if unit == FOUNDATION:
            return aws_inputs.foundation(self._environment, self._state)
        contract = self.published(FOUNDATION).get("contract")
        if contract is None:
            raise ConflictError(
                f"{unit} needs outputs of foundation, which does not exist yet",
                where=self.stack(unit).where,
                hint=f"deploy the environment first: `mjctl deploy --env {self._environment.name} --all-regions`",
            )
        if unit == EDGE:
            edges = {name: self.published(name).get("edge") for name in self._environment.regions}
            return aws_inputs.edge(self._environment, contract, {name: part for name, part in edges.items() if part})
        package = package_of(
            self._workspace, self._environment, self._store, release, contract, only_planned=self._only_planned
        )
        return aws_inputs.region(
            self._environment,
            unit,
            contract,
            replace(package, path=_relative_path(stack, Path(package.path))),
            servers_per_zone=inputs.servers_per_zone(self.stack(unit)),
            emulated_aws=self._account.emulated_aws,
            state=self._state,
        )


def _relative_path(stack: Stack, archive: Path) -> str:
    """Return the archive's path relative to the folder where Terraform runs.

    An absolute path differs between machines, and Terraform would plan a change on each machine.
    """
    return os.path.relpath(archive, stack.source_dir)
