"""Reads PostgreSQL in one snapshot and writes PostgreSQL in one transaction. A record is a line of COPY's text format.

The backup uses COPY and not pg_dump, because pg_dump would have to be installed in the server's version. mjctl streams
the output of COPY into chunks. The schema is not part of a backup, because the game's migrations define the schema. A
backup can be restored only into a database at the backup's migration. A scratch copy is migrated to the backup's
migration before it is filled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from mjctl.backup.streams import stream
from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.stores import database, database_options
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, MjctlError, NotFoundError, RefusedError

_CONNECT_SECONDS = 5.0
# Time limit of one hour for the COPY of one relation, so that a backup in CI does not hang forever.
_COPY_SECONDS = 3600.0
_LOCK_SECONDS = 10
# Approximate number of bytes of a batch of lines that `Snapshot.lines` yields.
_BATCH_BYTES = 1024 * 1024
# Settings of a transaction, so that PostgreSQL writes a value as the same text on every server and for every role.
_SPELLING = (
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL intervalstyle = 'iso_8601'",
    "SET LOCAL extra_float_digits = 3",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL client_encoding = 'UTF8'",
)
_MIGRATIONS = "alembic_version"
_RELATIONS = """
SELECT n.nspname AS schema, c.relname AS name,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY n.nspname, c.relname ORDER BY n.nspname, c.relname
"""
_REFERENCES = """
SELECT n.nspname || '.' || c.relname AS child, pn.nspname || '.' || p.relname AS parent
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
"""
_SEQUENCES = (
    "SELECT schemaname || '.' || sequencename AS name, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
)


@dataclass(frozen=True)
class Relation:
    """Describes one table of PostgreSQL.

    Attributes:
        schema: PostgreSQL's schema of the table, for example `public`.
        name: name of the table in its schema.
        columns: names of the table's columns, without generated columns, which PostgreSQL computes.
    """

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        """Return `SCHEMA.NAME`, which names the table in a manifest and in messages."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """Return the table's name as `"SCHEMA"."NAME"`, for use in an SQL statement."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def column_list(self) -> str:
        """Return the quoted names of the columns, separated by commas, for use in an SQL statement."""
        return ", ".join(quote(column) for column in self.columns)

    @classmethod
    def of(cls, schema: dict[str, Any]) -> Relation:
        """Create a relation from its description in a manifest (see `to_schema`)."""
        return cls(schema["schema"], schema["name"], tuple(schema["columns"]))

    def to_schema(self) -> dict[str, Any]:
        """Return the description of the relation that a manifest contains."""
        return {"schema": self.schema, "name": self.name, "columns": list(self.columns)}


class Snapshot:
    """Reads or writes PostgreSQL's relations within one transaction.

    Attributes:
        relations: all relations of the database. A relation comes after the relations that its foreign keys refer to,
            so that a restore can fill the relations in this order.
        facts: `migration` (the database's migration in alembic, or None), `server` (PostgreSQL's version) and
            `sequences` (name of a sequence -> its last value).
    """

    def __init__(self, connection: Any, relations: Sequence[Relation], facts: dict[str, Any]) -> None:
        self._connection = connection
        self.relations = tuple(relations)
        self.facts = facts

    def lines(self, relation: Relation) -> AsyncGenerator[list[bytes], None]:
        """Yield the relation's rows in batches: one line of COPY's text format for each row, without its line feed."""
        query = f"SELECT {relation.column_list} FROM ONLY {relation.quoted}"  # noqa: S608  names are quoted

        async def copy(emit: Callable[[list[bytes]], Awaitable[None]]) -> None:
            splitter = _Lines(emit)
            await self._connection.copy_from_query(query, output=splitter.feed, timeout=_COPY_SECONDS)
            await splitter.end()

        return stream(copy)

    async def fill(self, relation: Relation, batches: AsyncIterator[list[bytes]]) -> None:
        """Append rows to the relation: one line of COPY's text format for each row, without its line feed."""

        async def source() -> AsyncIterator[bytes]:
            async for batch in batches:
                if batch:
                    yield b"\n".join(batch) + b"\n"

        await self._connection.copy_to_table(
            relation.name,
            schema_name=relation.schema,
            columns=list(relation.columns),
            source=source(),
            timeout=_COPY_SECONDS,
        )

    async def count(self, relation: Relation) -> int:
        """Return the number of rows of the relation."""
        return int(await self._connection.fetchval(f"SELECT count(*) FROM ONLY {relation.quoted}"))  # noqa: S608

    async def empty(self, relations: Sequence[Relation]) -> None:
        """Remove all rows of `relations`, and lock the relations until the transaction ends."""
        if relations:
            await self._connection.execute("TRUNCATE " + ", ".join(relation.quoted for relation in relations))

    async def set_sequences(self, sequences: dict[str, int]) -> None:
        """Set the last value of each sequence, so that rows that the game inserts later get new numbers.

        Args:
            sequences: `SCHEMA.NAME` of a sequence -> its last value.
        """
        for name, value in sequences.items():
            schema, _, sequence = name.partition(".")
            await self._connection.execute(
                "SELECT setval($1::regclass, $2)", f"{quote(schema)}.{quote(sequence)}", value
            )


class _Lines:
    """Splits the output of COPY into lines.

    COPY writes a line feed inside a value as `\\n`, so each line of the output is a row.
    """

    def __init__(self, emit: Callable[[list[bytes]], Awaitable[None]]) -> None:
        self._emit = emit
        self._pieces: list[bytes] = []
        self._size = 0

    async def feed(self, data: bytes) -> None:
        self._pieces.append(bytes(data))
        self._size += len(data)
        if self._size >= _BATCH_BYTES:
            await self._cut()

    async def end(self) -> None:
        await self._cut()

    async def _cut(self) -> None:
        *lines, rest = b"".join(self._pieces).split(b"\n")
        self._pieces, self._size = ([rest], len(rest)) if rest else ([], 0)
        if lines:
            await self._emit(lines)


@asynccontextmanager
async def reading(contract: Contract, clients: RegionClients) -> AsyncIterator[Snapshot]:
    """Open a REPEATABLE READ, READ ONLY transaction, which shows all relations as of one moment and blocks no writer.

    Raises:
        NotFoundError: the database does not exist.
        UnreachableError: PostgreSQL does not answer.
    """
    async with _transaction(contract, clients, isolation="repeatable_read", readonly=True) as snapshot:
        yield snapshot


@asynccontextmanager
async def writing(contract: Contract, clients: RegionClients) -> AsyncIterator[Snapshot]:
    """Open a transaction that commits when the block ends without an exception.

    Raises:
        ConflictError: another connection holds a lock on a table for longer than 10 s, or PostgreSQL rejects a row.
        NotFoundError: the database does not exist.
        UnreachableError: PostgreSQL does not answer.
    """
    async with _transaction(contract, clients, isolation="read_committed", readonly=False) as snapshot:
        yield snapshot


async def counts(contract: Contract, clients: RegionClients) -> dict[str, int] | None:
    """Return the number of rows of each relation (label -> count), or None if the database does not exist."""
    try:
        async with reading(contract, clients) as snapshot:
            return {relation.label: await snapshot.count(relation) for relation in snapshot.relations}
    except NotFoundError:
        return None


async def create(contract: Contract, clients: RegionClients, name: str, migration: str | None) -> None:
    """Create the database `name` on the region's PostgreSQL server, and migrate the new database to `migration`.

    Args:
        migration: the migration in alembic up to which the schema is created; None leaves the database empty.

    Raises:
        ConflictError: a database `name` exists, or PostgreSQL does not allow the region's role to create a database.
        RefusedError: the server is a reader, as Aurora's servers in a region without the writer.
    """
    import asyncpg

    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        try:
            await connection.execute(f"CREATE DATABASE {quote(name)}", timeout=60)
        except asyncpg.DuplicateDatabaseError:
            raise ConflictError(
                f"the database {name} already exists",
                where=name,
                hint="choose another name for the scratch copy, or remove the existing copy: "
                "`mjctl backup discard NAME`",
            ) from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConflictError(
                f"cannot create a scratch database: {error}",
                where=name,
                hint=f"give the role `{contract.database.user}` the right to create databases: "
                f"`ALTER ROLE {contract.database.user} CREATEDB`",
            ) from None
        except (asyncpg.ReadOnlySQLTransactionError, asyncpg.FeatureNotSupportedError) as error:
            # Aurora forwards no CREATE DATABASE from a secondary region to the writer:
            # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-write-forwarding-apg.html
            raise RefusedError(
                f"the database of this region is a reader, which can create no scratch database: {error}",
                where=f"{contract.environment}, {contract.region}",
                hint="run the drill in the region that has the writer of the database; `mjctl health` names the region",
            ) from None
    if migration is not None:
        await migrate(beside(contract, name), clients, migration)


async def migrate(contract: Contract, clients: RegionClients, revision: str) -> None:
    """Run the game's database migrations up to the migration `revision` in alembic (`head`: all migrations).

    Raises:
        ConflictError: the installed version of the game does not have the migration `revision`, or a migration fails.
    """
    import gameserver

    options = await database_options(contract, clients, _CONNECT_SECONDS)

    def upgrade() -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(gameserver.__file__).parent / "migrations"))
        config.attributes["connection_options"] = options
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise ConflictError(
                f"the schema cannot be migrated to {revision}: {error}",
                where=f"{contract.region}, database {contract.database.name}",
                hint="use the version of mjctl and of the game that made the backup",
            ) from None

    await asyncio.to_thread(upgrade)


async def drop(contract: Contract, clients: RegionClients, name: str) -> None:
    """Drop the database `name`, and close all connections to it. It is no error if the database does not exist."""
    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)", timeout=60)


async def names(contract: Contract, clients: RegionClients, prefix: str) -> list[str]:
    """Return the names of the databases on the region's PostgreSQL server that begin with `prefix`, sorted."""
    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix)
    return sorted(row["datname"] for row in rows)


def beside(contract: Contract, name: str) -> Contract:
    """Return a copy of the contract that names the database `name` of the region's PostgreSQL server."""
    return contract.model_copy(update={"database": contract.database.model_copy(update={"name": name})})


def quote(name: str) -> str:
    """Quote a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


@asynccontextmanager
async def _transaction(
    contract: Contract, clients: RegionClients, *, isolation: str, readonly: bool
) -> AsyncIterator[Snapshot]:
    import asyncpg

    part = contract.database
    where = f"{contract.environment}, {contract.region}, database {part.name}"
    try:
        async with (
            _known(database(contract, clients, timeout_seconds=_CONNECT_SECONDS), where) as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            for statement in (*_SPELLING, f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"):
                await connection.execute(statement)
            yield Snapshot(connection, await _relations(connection, where), await _facts(connection))
    except asyncpg.LockNotAvailableError:
        raise ConflictError(
            f"another connection holds a lock on a table for more than {_LOCK_SECONDS} s",
            where=where,
            hint="repeat the command. If the lock remains and another region is deployed, first move the players to "
            f"that region: `mjctl failover --env {contract.environment} --region {contract.region} --wait 300`",
        ) from None
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.SyntaxOrAccessError) as error:
        raise ConflictError(f"PostgreSQL rejects a statement or a row: {error}", where=where) from error
    except asyncpg.PostgresError as error:
        raise unreachable(contract, "PostgreSQL", f"{part.host}:{part.port}/{part.name}", error) from error


@asynccontextmanager
async def _known(connecting: Any, where: str) -> AsyncIterator[Any]:
    """Open the connection `connecting`. Raise NotFoundError if PostgreSQL reports that the database does not exist."""
    import asyncpg

    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(connecting)
        except MjctlError as error:
            if isinstance(error.__cause__, asyncpg.InvalidCatalogNameError):
                raise NotFoundError("the database does not exist", where=where) from error
            raise
        yield connection


async def _relations(connection: Any, where: str) -> list[Relation]:
    relations = {
        relation.label: relation
        for relation in (
            Relation(row["schema"], row["name"], tuple(row["columns"])) for row in await connection.fetch(_RELATIONS)
        )
        if relation.name != _MIGRATIONS
    }
    order: TopologicalSorter[str] = TopologicalSorter({label: set() for label in sorted(relations)})
    for row in await connection.fetch(_REFERENCES):
        order.add(row["child"], row["parent"])
    try:
        return [relations[label] for label in order.static_order() if label in relations]
    except CycleError as error:
        raise ConflictError(
            f"the foreign keys of these tables form a cycle: {' -> '.join(error.args[1])}",
            where=where,
            hint="a restore fills a table after the tables that its foreign keys refer to. Remove one of the foreign "
            "keys by a migration",
        ) from None


async def _facts(connection: Any) -> dict[str, Any]:
    migrated = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", _MIGRATIONS)
    return {
        "migration": await connection.fetchval(f"SELECT version_num FROM {_MIGRATIONS}") if migrated else None,  # noqa: S608
        "server": await connection.fetchval("SELECT current_setting('server_version')"),
        "sequences": {row["name"]: row["last_value"] for row in await connection.fetch(_SEQUENCES)},
    }
