"""Alembic's environment: one connection by asyncpg, one transaction, one migrating process at a time."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

# Any number that no other program of ours uses for an advisory lock.
_LOCK = 0x6D6A63746C


def _migrate(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    context.configure(connection=connection)
    context.run_migrations()


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
