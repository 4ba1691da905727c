"""Updates the schema of a production database to the schema of a release, once in each deploy.

In an existing environment, the migrations run before the apply of the new code, because new code may need the new
schema. The old code works with the new schema, too. In a new environment, the migrations run after the apply that
creates the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mjctl.clients.global_database import read_from_any
from mjctl.clients.migrate_function import PURPOSE, MigrateFunction
from mjctl.deploy.executor import Reporter
from mjctl.deploy.planner.desired_state import DesiredState
from mjctl.deploy.planner.production import ProductionPlanner
from mjctl.models.contract import Contract
from mjctl.models.deployment import Phase, SchemaUpdate
from mjctl.models.environment import Environment
from mjctl.models.errors import ConfigError, ConflictError


class SchemaUpdater:
    """Runs the migrations of one deploy at most once, in the region of the writer.

    Attributes:
        update: The result of the migrations, or None if they have not run.
    """

    def __init__(self, planner: ProductionPlanner, environment: Environment, reporter: Reporter) -> None:
        self._planner = planner
        self._environment = environment
        self._reporter = reporter
        self._lock = asyncio.Lock()
        self._done = False
        self.update: SchemaUpdate | None = None

    async def run(self, desired: DesiredState) -> None:
        """Run the migrations of the release that `desired` deploys to a region.

        The call does nothing if the migrations of this deploy have run already, or if the writer's region has no
        Lambda function `migrate` yet.

        Raises:
            VerificationError: a migration failed, and the schema is unchanged.
            ConflictError: the database has no writer at the moment.
            UnreachableError: the database or AWS did not answer.
            PermissionDeniedError: AWS refuses a call.
        """
        async with self._lock:
            if self._done:
                return
            writer = await self._writer()
            if writer is None:
                return
            if not writer.endpoints.served:
                self._reporter.note(desired.unit, "the schema is not updated, because no database runs in this sandbox")
                self._done = True
                return
            self._reporter.phase(desired.unit, Phase.SCHEMA)
            package: Mapping[str, Any] = desired.variables["functions"]["package"]
            archive = await asyncio.to_thread((desired.stack.source_dir / package["path"]).read_bytes)
            self.update = await MigrateFunction(writer).run(archive, package["sha256"])
            self._done = True
            self._reporter.note(desired.unit, str(self.update))

    async def _writer(self) -> Contract | None:
        """Return the contract of the writer's region, or None if that region has no function `migrate`."""
        contracts = await asyncio.to_thread(self._contracts)
        if not contracts:
            return None
        writer = contracts.get(await self._writer_region(contracts))
        has_function = writer is not None and writer.managed is not None and PURPOSE in writer.managed.functions
        return writer if has_function else None

    async def _writer_region(self, contracts: Mapping[str, Contract]) -> str:
        database = await read_from_any(contracts.values())
        if database is None:
            return self._environment.primary_region
        if database.writer is None:
            raise ConflictError(
                "the database has no writer at the moment, so its schema cannot be updated",
                where=f"environment {self._environment.name}, global cluster {database.name}",
                hint=f"`mjctl health --env {self._environment.name} --only database-regions` shows the move of the "
                "writer; deploy again after the move",
            )
        return database.writer

    def _contracts(self) -> dict[str, Contract]:
        """Return the contracts of the deployed regions. The primary region is the first."""
        contracts = {}
        primary = self._environment.primary_region
        for region in sorted(self._environment.regions, key=lambda name: name != primary):
            published = self._planner.published(region).get("contract")
            if published is not None:
                try:
                    contracts[region] = Contract.parse(published)
                except ConfigError:
                    # An older version of mjctl has deployed the region. The apply publishes a new contract.
                    continue
        return contracts
