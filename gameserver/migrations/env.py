"""Runs the migrations of PostgreSQL for Alembic, in one transaction.

A lock lets only one process migrate a database at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gameserver.persistence.migrate import MigrationProgress

# Number of the advisory lock that a process holds in PostgreSQL during the migrations. No other code of this project
# uses the number of this lock.
_LOCK = 0x6D6A63746C

# Seconds for which a statement of a migration waits for a lock. A statement that waits for the lock of a table blocks
# all later statements on the table, also those of players.
_LOCK_SECONDS = 5

log = structlog.get_logger()


def _migrate(connection: Connection) -> None:
    progress: MigrationProgress = context.config.attributes.get("progress") or MigrationProgress()
    if progress.seconds is not None:
        connection.execute(text(f"SET LOCAL statement_timeout = {int(progress.seconds * 1000)}"))
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
    context.configure(connection=connection, on_version_apply=_recorder(progress))
    progress.heads = context.get_context().get_current_heads()
    newer = [head for head in progress.heads if not _is_known(head)]
    if newer:
        # The schema is newer than this code after a rollback to an older release. A rollback does not downgrade the
        # schema, because the older code works with every newer schema.
        log.warning("schema_is_newer", heads=newer)
        return
    progress.missing = _missing(progress.heads)
    context.run_migrations()


def _missing(heads: Sequence[str]) -> list[str]:
    """Return the names of the migrations after `heads`, in the order in which they run."""
    scripts = context.script.iterate_revisions(context.get_revision_argument(), tuple(heads) or None)
    return [Path(script.path).stem for script in scripts][::-1]


def _recorder(progress: MigrationProgress) -> Callable[..., None]:
    """Return the function that Alembic calls after each migration."""

    def record(step: Any, **_: Any) -> None:
        progress.applied.append(Path(step.up_revision.path).stem)

    return record


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
