"""Runs the migrations of PostgreSQL for Alembic, in one transaction.

Only one process migrates a database at a time. A migration with `transactional = False` commits the transaction of the
migrations before it, because PostgreSQL cannot create an index concurrently in a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from gameserver.persistence.application_user import create_application_user, create_backup_user
from gameserver.persistence.migrate import MigrationProgress

# Number of the advisory lock that a process holds in PostgreSQL during the migrations. No other code of this project
# uses the number of this lock.
_LOCK = 0x6D6A63746C

# Seconds for which a statement of a migration waits for a lock. A statement that waits for the lock of a table blocks
# all later statements on the table, also those of players.
_LOCK_SECONDS = 5

# Seconds between two attempts to get the advisory lock.
_RETRY_SECONDS = 0.2

log = structlog.get_logger()


def _migrate(connection: Connection, progress: MigrationProgress) -> None:
    context.configure(connection=connection, on_version_apply=_recorder(progress))
    with context.begin_transaction():
        progress.heads = context.get_context().get_current_heads()
        newer = [head for head in progress.heads if not _is_known(head)]
        if newer:
            # The schema is newer than this code after a rollback to an older release. A rollback does not downgrade the
            # schema, because the older code works with every newer schema.
            log.warning("schema_is_newer", heads=newer)
            return
        _find_missing(progress)
        context.run_migrations()
        # The first run has created the table of Alembic, whose rows the application's user must not change.
        _create_users(connection, progress)


def _create_users(connection: Connection, progress: MigrationProgress) -> None:
    if progress.application_user is not None:
        create_application_user(connection, progress.application_user)
    if progress.backup_user is not None:
        create_backup_user(connection, progress.backup_user)


async def _wait_for_lock(connection: AsyncConnection, seconds: float | None) -> None:
    """Set the time limits of the connection, and wait until no other process migrates the database.

    A process that waits in PostgreSQL for the lock would have an open transaction. Another process that creates an
    index concurrently waits until all older transactions have ended, so both processes would wait for each other:
    https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
    """
    limits: dict[str, float] = {"lock_timeout": _LOCK_SECONDS}
    if seconds is not None:
        # PostgreSQL ends a statement or an idle transaction at this limit even if this process hangs.
        limits |= dict.fromkeys(("statement_timeout", "idle_in_transaction_session_timeout"), seconds)
    for name, limit in limits.items():
        await connection.execute(text(f"SET {name} = {int(limit * 1000)}"))
    # Poll the lock, because PostgreSQL has no event for a lock that does not need an open transaction.
    while not (await connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})"))).scalar():
        await connection.commit()
        await asyncio.sleep(_RETRY_SECONDS)
    await connection.commit()


def _find_missing(progress: MigrationProgress) -> None:
    """Record the migrations after `progress.heads`, in the order in which they run."""
    scripts = context.script.iterate_revisions(context.get_revision_argument(), tuple(progress.heads) or None)
    for script in reversed(list(scripts)):
        name = Path(script.path).stem
        progress.missing.append(name)
        if not getattr(script.module, "transactional", True):
            progress.not_transactional.append(name)


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
    progress: MigrationProgress = context.config.attributes.setdefault("progress", MigrationProgress())
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, connect_args=context.config.attributes["connection_options"]
    )
    try:
        async with asyncio.timeout(progress.seconds) as limit, engine.connect() as connection:
            await _wait_for_lock(connection, progress.seconds)
            # The users exist even if a migration fails, because functions of an applied region need their user.
            await connection.run_sync(_create_users, progress)
            await connection.commit()
            await connection.run_sync(_migrate, progress)
            await connection.commit()
    except TimeoutError:
        # asyncpg raises TimeoutError too, if the database does not accept a connection in time.
        if not limit.expired():
            raise
        raise TimeoutError(f"the migrations took longer than {progress.seconds:.0f} s") from None
    finally:
        await engine.dispose()


asyncio.run(_run())
