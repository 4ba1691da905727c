"""What a region is to become: which code, with which variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mjctl.deploy import inputs
from mjctl.deploy.releases import Entry, RegionReleases, ReleaseStore
from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, NotFoundError
from mjctl.models.release import Release
from mjctl.models.workspace import Workspace
from mjctl.terraform.stack import Stack


@dataclass(frozen=True)
class Intent:
    """`stack` names the Terraform code that is run; `release` is what the region has afterwards."""

    stack: Stack
    variables: Mapping[str, Any]
    release: Release | None = None

    @property
    def region(self) -> str:
        return self.stack.region

    @property
    def revision(self) -> str | None:
        return self.release.revision if self.release else None


class Intents:
    """The ways to want something of a region. Every method only reads, apart from choosing ports.

    Raises:
        ConfigError: the environment's target cannot be deployed by this version.
    """

    def __init__(self, workspace: Workspace, environment: Environment, store: ReleaseStore) -> None:
        if environment.target != "local":
            raise ConfigError(
                f"target `{environment.target}` cannot be deployed by this version of mjctl; `local` can",
                where=f"environment {environment.name}",
            )
        self._workspace = workspace
        self._environment = environment
        self._store = store

    def stack(self, region: str) -> Stack:
        return Stack.of_region(self._workspace, self._environment, region)

    def wanted(self, region: str, release: Release) -> Intent:
        """The working tree's code and the environment's file, as they are now."""
        stack = self.stack(region)
        stack.prepare()
        game_dir = self._store.game_dir(release)
        return Intent(stack, inputs.local_variables(self._environment, stack, release, game_dir), release)

    def applied(self, region: str) -> Intent:
        """What the last apply wanted: whatever a plan of it shows has changed in the world.

        Raises:
            NotFoundError: the region was never wholly deployed.
        """
        stack = self.stack(region)
        if not stack.applied_variables_file.is_file():
            raise NotFoundError(
                "nothing to compare with: this region was never wholly deployed",
                where=stack.where,
                hint=f"`mjctl deploy --env {stack.environment} --region {region}`",
            )
        variables: dict[str, Any] = json.loads(stack.applied_variables_file.read_text(encoding="utf-8"))
        variables = {**variables, "epochs": inputs.epochs(stack, list(variables["epochs"]))}
        entry = RegionReleases(stack).current()
        if entry is None:
            return Intent(stack, variables)
        return Intent(self._store.restored(stack, entry), variables, entry.release)

    def earlier(self, region: str, entry: Entry) -> Intent:
        """An earlier release of the region: its Terraform code, game code and variables; the scale set since stays.

        Raises:
            NotFoundError: its code is not kept here any more.
        """
        stack = self._store.restored(self.stack(region), entry)
        variables = dict(entry.variables)
        scaled = inputs.servers_per_zone(stack)
        if scaled is not None:
            variables["game"] = {**variables["game"], "servers_per_zone": scaled}
        return Intent(stack, inputs.on_this_machine(self._environment, stack, variables), entry.release)

    def scaled(self, region: str, count: int) -> Intent:
        """What was last applied, with `count` game servers a zone.

        Raises:
            NotFoundError: the region was never wholly deployed.
        """
        intent = self.applied(region)
        variables = {**intent.variables, "game": {**intent.variables["game"], "servers_per_zone": count}}
        return replace(intent, variables=inputs.on_this_machine(self._environment, intent.stack, variables))
