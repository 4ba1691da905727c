"""Runs the migrations of PostgreSQL for Alembic, in one transaction.

A lock lets only one process migrate a database at a time.
"""

from __future__ import annotations

import asyncio

import structlog
from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

# Number of the advisory lock that a process holds in PostgreSQL during the migrations. No other code of this project
# uses the number of this lock.
_LOCK = 0x6D6A63746C

log = structlog.get_logger()


def _migrate(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    context.configure(connection=connection)
    newer = [head for head in context.get_context().get_current_heads() if not _is_known(head)]
    if newer:
        # The schema is newer than this code after a rollback to an older release. A rollback does not downgrade the
        # schema, because the older code works with every newer schema.
        log.warning("schema_is_newer", heads=newer)
        return
    context.run_migrations()


def _is_known(head: str) -> bool:
    try:
        return context.script.get_revision(head) is not None
    except CommandError:
        return False


async def _run() -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, connect_args=context.config.attributes["connection_options"]
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


asyncio.run(_run())
