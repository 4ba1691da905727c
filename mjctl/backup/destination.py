"""Where a restore goes: a region's own stores, or a scratch copy beside them."""

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
    """`scratch`: name of the copy, None for the region's own stores."""

    contract: Contract
    clients: RegionClients
    scratch: str | None = None

    def __post_init__(self) -> None:
        if self.scratch is not None and not _NAME.match(self.scratch):
            raise UsageError(
                f"`{self.scratch}` cannot name a copy",
                hint="1 to 15 of a-z, 0-9 and -, beginning with a letter",
            )

    @property
    def where(self) -> str:
        own = f"{self.contract.environment}, {self.contract.region}"
        return own if self.scratch is None else f"{own}, copy {self.scratch}"

    def table(self, key: str) -> str:
        """Physical name of the table that the contract calls `key`.

        Raises:
            NotFoundError: the region has no such table.
        """
        if self.scratch is not None:
            return f"{_table_prefix(self.contract)}{self.scratch}.{key}"
        try:
            return self.contract.tables[key].name
        except KeyError:
            raise NotFoundError(
                f"the region has no table `{key}`",
                where=self.where,
                hint="deploy the version of the game that made the backup, or leave tables out: --only",
            ) from None

    @property
    def database(self) -> str:
        return self.contract.database.name if self.scratch is None else _database_name(self.scratch)

    @property
    def database_contract(self) -> Contract:
        return database.beside(self.contract, self.database)

    def namespace(self, manifest: Manifest, part: Part) -> str:
        if self.scratch is None:
            return part.name
        # By number: a namespace may be as long as Redis' name for it allows.
        number = [item.name for item in manifest.parts if item.kind is Kind.CACHE].index(part.name)
        return f"{_namespace_prefix(self.scratch)}{number}"

    def target(self, manifest: Manifest, part: Part) -> str:
        """The physical name of where `part` goes."""
        match part.kind:
            case Kind.TABLE:
                return self.table(part.name)
            case Kind.DATABASE:
                return f"{self.database}: {part.name}"
            case Kind.CACHE:
                return self.namespace(manifest, part)

    def scratch_contract(self, manifest: Manifest) -> Contract:
        """The region as its health checks see it, with the copy's tables and database in place of its own."""
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
        """Make the copy's empty database and tables; a cache namespace is there once it is written."""
        if Kind.DATABASE in kinds and any(part.kind is Kind.DATABASE for part in manifest.parts):
            await database.create(self.contract, self.clients, self.database, manifest.database.get("migration"))
        for part in manifest.parts:
            if part.kind is Kind.TABLE and part.kind in kinds:
                await tables.create(self.clients, self.table(part.name), part.schema)

    async def tidy(self) -> None:
        """Remove the copy, even if the command is interrupted meanwhile: it holds players' data."""
        name = self.scratch
        await tidy(
            self.remove(), f"removing the scratch copy {name}", leaves=f"`mjctl backup discard {name}` removes the copy"
        )

    async def remove(self) -> list[str]:
        """Remove whatever there is of the copy, made by this run or by one that was stopped; what was removed."""
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
    """Names of the scratch copies of which something is there; a private database has none that were made from here."""
    found: set[str] = set()
    if contract.database.access == "direct":
        databases = await database.names(contract, clients, _DATABASE_PREFIX)
        found = {name.removeprefix(_DATABASE_PREFIX).replace("_", "-") for name in databases}
    prefix = _table_prefix(contract)
    found |= {name.removeprefix(prefix).split(".", 1)[0] for name in await tables.names(clients, prefix)}
    return sorted(found)


# Dots and underscores cannot stand in a copy's name: `new` is not a prefix of what belongs to `new-2`.
_DATABASE_PREFIX = "scratch_"


def _database_name(scratch: str) -> str:
    return _DATABASE_PREFIX + scratch.replace("-", "_")


def _table_prefix(contract: Contract) -> str:
    return f"{contract.project}-{contract.environment}-scratch."


def _namespace_prefix(scratch: str) -> str:
    return f"scratch_{scratch}_"
