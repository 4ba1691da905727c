"""Names the stores that a restore writes to: the region's live stores, or a scratch copy beside the live stores."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mjctl.backup import cache, database, tables
from mjctl.backup.create import TIMEOUT_SECONDS
from mjctl.backup.tidy import tidy
from mjctl.clients.boto import RegionClients
from mjctl.clients.stores import cache as open_cache
from mjctl.models.backup import Kind, Manifest, Part
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError, UsageError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}\Z")


@dataclass(frozen=True)
class Destination:
    """Describes the stores that a restore writes to, and creates and removes scratch copies.

    A scratch copy has its own database, tables and cache namespaces in the region, with names that begin differently
    from the live stores' names.

    Attributes:
        contract: the region's contract.
        clients: the region's clients.
        scratch: name of the scratch copy, or None for the region's live stores.

    Raises:
        UsageError: `scratch` is not a valid name of a scratch copy.
    """

    contract: Contract
    clients: RegionClients
    scratch: str | None = None

    def __post_init__(self) -> None:
        if self.scratch is not None and not _NAME.match(self.scratch):
            raise UsageError(
                f"`{self.scratch}` is not a valid name for a scratch copy",
                hint="use 1 to 15 characters of a-z, 0-9 and -; the first character must be one of a-z",
            )

    @property
    def where(self) -> str:
        """Return the environment, the region and the name of the scratch copy, for use in messages."""
        own = f"{self.contract.environment}, {self.contract.region}"
        return own if self.scratch is None else f"{own}, copy {self.scratch}"

    def table(self, key: str) -> str:
        """Return the DynamoDB name of the table that has the key `key` in the contract.

        Raises:
            NotFoundError: the contract has no table with the key `key`.
        """
        if self.scratch is not None:
            return f"{_table_prefix(self.contract)}{self.scratch}.{key}"
        try:
            return self.contract.tables[key].name
        except KeyError:
            raise NotFoundError(
                f"the region has no table `{key}`",
                where=self.where,
                hint="deploy the version of the game that made the backup, or restore only the database "
                "and the cache: `--only database --only cache`",
            ) from None

    @property
    def database(self) -> str:
        """Return the name of the PostgreSQL database that a restore writes to."""
        return self.contract.database.name if self.scratch is None else _database_name(self.scratch)

    @property
    def database_contract(self) -> Contract:
        """Return a copy of the region's contract that names the database that a restore writes to."""
        return database.beside(self.contract, self.database)

    def namespace(self, manifest: Manifest, part: Part) -> str:
        """Return the name of the cache namespace into which `part` is restored."""
        if self.scratch is None:
            return part.name
        # In a scratch copy, use a number instead of the namespace's name, because the name with the copy's prefix could
        # be too long.
        number = [item.name for item in manifest.parts if item.kind is Kind.CACHE].index(part.name)
        return f"{_namespace_prefix(self.scratch)}{number}"

    def target(self, manifest: Manifest, part: Part) -> str:
        """Return the name of the table, relation or cache namespace into which `part` is restored."""
        match part.kind:
            case Kind.TABLE:
                return self.table(part.name)
            case Kind.DATABASE:
                return f"{self.database}: {part.name}"
            case Kind.CACHE:
                return self.namespace(manifest, part)

    def scratch_contract(self, manifest: Manifest) -> Contract:
        """Return the region's contract with the scratch copy's tables and database, for health checks of the copy."""
        copied = {part.name for part in manifest.parts if part.kind is Kind.TABLE}
        return self.database_contract.model_copy(
            update={
                "tables": {
                    key: table.model_copy(update={"name": self.table(key)})
                    for key, table in self.contract.tables.items()
                    if key in copied
                }
            }
        )

    async def create(self, manifest: Manifest, kinds: set[Kind]) -> None:
        """Create the scratch copy's empty database and tables. Cache namespaces are created by their first write."""
        if Kind.DATABASE in kinds and any(part.kind is Kind.DATABASE for part in manifest.parts):
            await database.create(self.contract, self.clients, self.database, manifest.database.get("migration"))
        for part in manifest.parts:
            if part.kind is Kind.TABLE and part.kind in kinds:
                await tables.create(self.clients, self.table(part.name), part.schema)

    async def tidy(self) -> None:
        """Remove the scratch copy, even if the command is interrupted, because the copy contains players' data."""
        name = self.scratch
        await tidy(
            self.remove(), f"removing the scratch copy {name}", leaves=f"`mjctl backup discard {name}` removes the copy"
        )

    async def remove(self) -> list[str]:
        """Remove all parts of the scratch copy, including parts that an interrupted command has created.

        Returns:
            The removed parts, for example `table NAME`, `database NAME` and `cache namespace NAME`.
        """
        assert self.scratch is not None, "only a copy can be removed"  # noqa: S101
        removed: list[str] = []
        for name in await tables.names(self.clients, f"{_table_prefix(self.contract)}{self.scratch}."):
            await tables.drop(self.clients, name)
            removed.append(f"table {name}")
        if self.contract.database.access == "direct":
            for name in await database.names(self.contract, self.clients, self.database):
                if name == self.database:
                    await database.drop(self.contract, self.clients, name)
                    removed.append(f"database {name}")
        if self.contract.cache.access == "direct":
            async with open_cache(self.contract, self.clients, timeout_seconds=TIMEOUT_SECONDS) as redis:
                for name in await cache.namespaces(redis, [f"{_namespace_prefix(self.scratch)}*"]):
                    await cache.forget(redis, name)
                    removed.append(f"cache namespace {name}")
        return removed


async def copies(contract: Contract, clients: RegionClients) -> list[str]:
    """Return the names of the scratch copies that have a database or a table.

    The function does not search a private database for scratch copies, because only programs in the VPC can connect to
    a private database.
    """
    scratch_names: set[str] = set()
    if contract.database.access == "direct":
        databases = await database.names(contract, clients, _DATABASE_PREFIX)
        scratch_names = {name.removeprefix(_DATABASE_PREFIX).replace("_", "-") for name in databases}
    prefix = _table_prefix(contract)
    scratch_names |= {name.removeprefix(prefix).split(".", 1)[0] for name in await tables.names(clients, prefix)}
    return sorted(scratch_names)


# In the names of tables and cache namespaces, a dot or an underscore follows the name of the scratch copy. The name of
# a copy cannot contain a dot or an underscore, so the prefix of the copy `new` does not match the tables of the copy
# `new-2`.
_DATABASE_PREFIX = "scratch_"


def _database_name(scratch: str) -> str:
    return _DATABASE_PREFIX + scratch.replace("-", "_")


def _table_prefix(contract: Contract) -> str:
    return f"{contract.project}-{contract.environment}-scratch."


def _namespace_prefix(scratch: str) -> str:
    return f"scratch_{scratch}_"
