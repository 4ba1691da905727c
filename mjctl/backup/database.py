"""PostgreSQL as records: the lines of COPY's text format, read in one snapshot and written in one transaction.

COPY and not pg_dump: it needs no client program of the server's version, streams into chunks of ours, and leaves the
schema where it is kept under review, in the migrations. A backup therefore restores into a database at the same
migration, which a scratch copy is brought to first.
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
from mjctl.clients.secrets import read_secret
from mjctl.clients.stores import database
from mjctl.clients.tls import ssl_context
from mjctl.models.contract import Contract
from mjctl.models.errors import ConflictError, MjctlError, NotFoundError

_CONNECT_SECONDS = 5.0
# One relation may take this long; a backup in CI must end some day.
_COPY_SECONDS = 3600.0
_LOCK_SECONDS = 10
# Lines are handed out in batches of about this many bytes.
_BATCH_BYTES = 1024 * 1024
# Makes the text of a value the same whatever the role's or the server's settings; as pg_dump does.
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
    """One table. `columns` leaves out those that the server computes."""

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def column_list(self) -> str:
        return ", ".join(quote(column) for column in self.columns)

    @classmethod
    def of(cls, schema: dict[str, Any]) -> Relation:
        return cls(schema["schema"], schema["name"], tuple(schema["columns"]))

    def to_schema(self) -> dict[str, Any]:
        return {"schema": self.schema, "name": self.name, "columns": list(self.columns)}


class Snapshot:
    """One transaction. Relations stand in the order in which they can be filled, those referred to first."""

    def __init__(self, connection: Any, relations: Sequence[Relation], facts: dict[str, Any]) -> None:
        self._connection = connection
        self.relations = tuple(relations)
        self.facts = facts
        """`migration` (alembic's revision), `server` (version) and `sequences` (name -> last value)."""

    def lines(self, relation: Relation) -> AsyncGenerator[list[bytes], None]:
        """The relation's rows in COPY's text format, without line ends, in batches."""
        query = f"SELECT {relation.column_list} FROM ONLY {relation.quoted}"  # noqa: S608  names are quoted

        async def copy(emit: Callable[[list[bytes]], Awaitable[None]]) -> None:
            splitter = _Lines(emit)
            await self._connection.copy_from_query(query, output=splitter.feed, timeout=_COPY_SECONDS)
            await splitter.end()

        return stream(copy)

    async def fill(self, relation: Relation, batches: AsyncIterator[list[bytes]]) -> None:
        """Append rows in COPY's text format."""

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
        return int(await self._connection.fetchval(f"SELECT count(*) FROM ONLY {relation.quoted}"))  # noqa: S608

    async def empty(self, relations: Sequence[Relation]) -> None:
        """Lock these relations against every other writer and remove their rows."""
        if relations:
            await self._connection.execute("TRUNCATE " + ", ".join(relation.quoted for relation in relations))

    async def set_sequences(self, sequences: dict[str, int]) -> None:
        for name, value in sequences.items():
            schema, _, sequence = name.partition(".")
            await self._connection.execute(
                "SELECT setval($1::regclass, $2)", f"{quote(schema)}.{quote(sequence)}", value
            )


class _Lines:
    """Cuts a stream into lines. In the text format a line feed inside of a value is spelled `\\n`."""

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
    """One REPEATABLE READ, READ ONLY transaction: all relations as of one moment, without locking the game out."""
    async with _transaction(contract, clients, isolation="repeatable_read", readonly=True) as snapshot:
        yield snapshot


@asynccontextmanager
async def writing(contract: Contract, clients: RegionClients) -> AsyncIterator[Snapshot]:
    """One transaction that commits when the block ends without an exception.

    Raises:
        ConflictError: the game holds a lock for longer than 10 s.
    """
    async with _transaction(contract, clients, isolation="read_committed", readonly=False) as snapshot:
        yield snapshot


async def counts(contract: Contract, clients: RegionClients) -> dict[str, int] | None:
    """Rows of every relation; None where there is no such database."""
    try:
        async with reading(contract, clients) as snapshot:
            return {relation.label: await snapshot.count(relation) for relation in snapshot.relations}
    except NotFoundError:
        return None


async def create(contract: Contract, clients: RegionClients, name: str, migration: str | None) -> None:
    """Make a database beside the contract's own and bring it to `migration`.

    Raises:
        ConflictError: there is one of this name, or the role may not make one.
    """
    import asyncpg

    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        try:
            await connection.execute(f"CREATE DATABASE {quote(name)}", timeout=60)
        except asyncpg.DuplicateDatabaseError:
            raise ConflictError(
                "a database of this name is there already",
                where=name,
                hint="choose another name, or remove that copy: `mjctl backup discard NAME`",
            ) from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConflictError(f"a scratch database cannot be made: {error}", where=name) from None
    if migration is not None:
        await migrate(beside(contract, name), clients, migration)


async def migrate(contract: Contract, clients: RegionClients, revision: str) -> None:
    """Run the game's migrations up to `revision` (`head`: all).

    Raises:
        ConflictError: this version of the game does not have that migration, or it fails.
    """
    import gameserver

    options = await _options(contract, clients)

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
                f"the schema cannot be brought to migration {revision}: {error}",
                where=f"{contract.region}, database {contract.database.name}",
                hint="use the version of mjctl and of the game that made the backup",
            ) from None

    await asyncio.to_thread(upgrade)


async def drop(contract: Contract, clients: RegionClients, name: str) -> None:
    """Remove a database and whoever is connected to it; one that is gone already is no error."""
    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)", timeout=60)


async def names(contract: Contract, clients: RegionClients, prefix: str) -> list[str]:
    async with database(contract, clients, timeout_seconds=_CONNECT_SECONDS) as connection:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix)
    return sorted(row["datname"] for row in rows)


def beside(contract: Contract, name: str) -> Contract:
    """The same region with another database of the same server."""
    return contract.model_copy(update={"database": contract.database.model_copy(update={"name": name})})


def quote(name: str) -> str:
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
            f"the game holds a lock for more than {_LOCK_SECONDS} s",
            where=where,
            hint="repeat the command; if it fails again and another region is deployed, first send the players there: "
            f"`mjctl failover --env {contract.environment} --region {contract.region} --wait 300`",
        ) from None
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.SyntaxOrAccessError) as error:
        raise ConflictError(f"PostgreSQL refuses: {error}", where=where) from error
    except asyncpg.PostgresError as error:
        raise unreachable(contract, "PostgreSQL", f"{part.host}:{part.port}/{part.name}", error) from error


@asynccontextmanager
async def _known(connecting: Any, where: str) -> AsyncIterator[Any]:
    """A missing database is told from a server that does not answer."""
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
    found = {
        relation.label: relation
        for relation in (
            Relation(row["schema"], row["name"], tuple(row["columns"])) for row in await connection.fetch(_RELATIONS)
        )
        if relation.name != _MIGRATIONS
    }
    order: TopologicalSorter[str] = TopologicalSorter({label: set() for label in sorted(found)})
    for row in await connection.fetch(_REFERENCES):
        order.add(row["child"], row["parent"])
    try:
        return [found[label] for label in order.static_order() if label in found]
    except CycleError as error:
        raise ConflictError(f"foreign keys go in a circle: {' -> '.join(error.args[1])}", where=where) from None


async def _facts(connection: Any) -> dict[str, Any]:
    migrated = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", _MIGRATIONS)
    return {
        "migration": await connection.fetchval(f"SELECT version_num FROM {_MIGRATIONS}") if migrated else None,  # noqa: S608
        "server": await connection.fetchval("SELECT current_setting('server_version')"),
        "sequences": {row["name"]: row["last_value"] for row in await connection.fetch(_SEQUENCES)},
    }


async def _options(contract: Contract, clients: RegionClients) -> dict[str, Any]:
    part = contract.database
    secret = await read_secret(part.secret, clients)
    return {
        "host": part.host,
        "port": part.port,
        "database": part.name,
        "user": part.user,
        "password": secret.get("password"),
        "ssl": ssl_context(contract) if part.tls else False,
        "timeout": _CONNECT_SECONDS,
        "server_settings": {"application_name": "mjctl"},
    }
