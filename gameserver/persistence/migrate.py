"""Updates the schema of PostgreSQL, for the command `gameserver migrate`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from gameserver.persistence.database import Database, DatabaseUnavailable, connection_options
from gameserver.runtime import logs
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

log = structlog.get_logger()

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.2


def run(settings: Settings) -> int:
    """Wait up to 30 s for the database, and run the missing migrations.

    Several processes may call `run` at the same time.

    Returns:
        The exit code: 0 if the schema is up to date, 1 if the database did not answer.
    """
    from alembic import command
    from alembic.config import Config

    logs.configure(settings, "migrate")
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    try:
        try:
            asyncio.run(_await_database(settings, aws))
        except DatabaseUnavailable as error:
            log.error("database_unreachable", cause=str(error), host=settings.database_host)
            return 1
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).resolve().parents[1] / "migrations"))
        config.attributes["connection_options"] = connection_options(settings, aws)
        command.upgrade(config, "head")
        log.info("schema_up_to_date")
        return 0
    finally:
        aws.close()


async def _await_database(settings: Settings, aws: AwsClients) -> None:
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

    database = Database(settings, aws)
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        wait=wait_fixed(_PAUSE_SECONDS),
        reraise=True,
    )
    try:
        async for attempt in attempts:
            with attempt:
                async with database.connection() as connection:
                    await connection.fetchval("SELECT 1")
    finally:
        await database.close()
