"""Updates the schema of PostgreSQL, for the command `gameserver migrate` and the Lambda function `migrate`.

All missing migrations run in one transaction, so a migration that fails leaves the old schema. A migration with
`transactional = False` is an exception: the migrations before it take effect even if it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from gameserver.persistence.database import IAM, Database, DatabaseUnavailable, connection_options, needs_iam
from gameserver.runtime import logs
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings

log = structlog.get_logger()

PATIENCE_SECONDS = 30.0
"""The default time for which a migration waits for the database to answer."""

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
"""The folder of the migrations."""

_PAUSE_SECONDS = 0.2
# The command `gameserver migrate` gives up after the time that the Lambda function `migrate` has on AWS.
_RUN_SECONDS = 300.0


class MigrationFailed(Exception):
    """Reports that the migrations ended with an error, and that the schema is the schema after the migrations `kept`.

    Attributes:
        migration: the name of the migration that failed, e.g. `0004_match_events`, or None if no migration had begun.
        cause: the reason in English.
        kept: the names of the migrations that have run and have changed the schema, in most cases none.
    """

    def __init__(self, migration: str | None, cause: str, kept: Sequence[str] = ()) -> None:
        super().__init__(f"{migration}: {cause}" if migration else cause)
        self.migration = migration
        self.cause = cause
        self.kept = tuple(kept)


@dataclass
class MigrationProgress:
    """Records the migrations of one run, in their order. gameserver/migrations/env.py fills it.

    Attributes:
        application_user: the user of PostgreSQL that the functions of the game use, or None for a database that the
            functions do not use, such as a restored copy.
        backup_user: the user of PostgreSQL that the backup task uses, or None for such a database.
        seconds: time limit of the run and of each statement in seconds, or None without a limit.
        heads: the newest migrations of the database at the start, empty for a database without a schema.
        missing: the names of the migrations that the database lacks at the start.
        not_transactional: the names of the missing migrations that commit the transaction before them.
        applied: the names of the migrations that have run.
    """

    application_user: str | None = None
    backup_user: str | None = None
    seconds: float | None = None
    heads: Sequence[str] = ()
    missing: list[str] = field(default_factory=list)
    not_transactional: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)

    @property
    def current(self) -> str | None:
        """Return the name of the migration that runs or has failed, or None if no migration is left."""
        return next(iter(self.missing[len(self.applied) :]), None)

    @property
    def kept(self) -> list[str]:
        """Return the names of the migrations that keep their effect if the migration `current` fails."""
        begun = self.missing[: len(self.applied) + 1]
        last = max((begun.index(name) for name in self.not_transactional if name in begun), default=0)
        return begun[:last]


def run(settings: Settings) -> int:
    """Wait up to 30 s for the database, and run the missing migrations.

    Several processes may call `run` at the same time.

    Returns:
        The exit code: 0 if the schema is up to date, 1 if the database did not answer or a migration failed.
    """
    logs.configure(settings, "migrate")
    aws = AwsClients(settings.region, settings.aws_endpoint_url)
    try:
        progress = upgrade(settings, aws, seconds=_RUN_SECONDS)
    except DatabaseUnavailable as error:
        log.error("database_unreachable", cause=str(error), host=settings.database_host)
        return 1
    except MigrationFailed:
        # `upgrade` has logged the error with its traceback.
        return 1
    finally:
        aws.close()
    log.info("schema_up_to_date", applied=progress.applied)
    return 0


def upgrade(
    settings: Settings, aws: AwsClients, *, patience_seconds: float = PATIENCE_SECONDS, seconds: float | None = None
) -> MigrationProgress:
    """Wait for the database, and run the missing migrations.

    A second process that calls `upgrade` at the same time waits, and then finds no missing migration.

    Args:
        settings: settings of the process.
        aws: clients of AWS, which read the database's password.
        patience_seconds: time in which the database must answer.
        seconds: time limit of the migrations, including the wait for another process, or None without a limit.

    Returns:
        The migrations that were missing and have run.

    Raises:
        DatabaseUnavailable: the database did not answer.
        MigrationFailed: a migration failed. The error names the migrations of this call that have changed the schema.
    """
    from alembic import command
    from alembic.config import Config

    settings = asyncio.run(_await_database(settings, aws, patience_seconds))
    progress = MigrationProgress(settings.application_user, settings.backup_user, seconds)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection_options"] = connection_options(settings, aws)
    config.attributes["progress"] = progress
    try:
        command.upgrade(config, "head")
    except Exception as error:
        # The text of SQLAlchemy's error contains the statement, and its attribute `orig` has only the database's words.
        cause = getattr(error, "orig", None) or error
        log.exception("migration_failed", migration=progress.current, cause=str(cause))
        raise MigrationFailed(progress.current, str(cause) or type(cause).__name__, progress.kept) from error
    return progress


async def _await_database(settings: Settings, aws: AwsClients, patience_seconds: float) -> Settings:
    """Wait until the database answers. Returns: the settings with which the user may log in.

    On Aurora, the master user may log in by a password only until the first migrations. In PostgreSQL 16, a user
    without the rights of a superuser becomes a member of each role that the user creates. Aurora lets a direct or
    indirect member of `rds_iam` log in by IAM only:
    https://www.postgresql.org/docs/16/role-attributes.html
    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html

    Raises:
        DatabaseUnavailable: the database did not answer in time, or refuses both log-ins.
    """
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

    attempts = AsyncRetrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        stop=stop_after_delay(patience_seconds),
        wait=wait_fixed(_PAUSE_SECONDS),
        reraise=True,
    )
    async for attempt in attempts:
        with attempt:
            try:
                await _log_in(settings, aws)
            except DatabaseUnavailable as error:
                if settings.database_secret is None or not needs_iam(error):
                    raise
                by_iam = replace(settings, database_secret=IAM)
                await _log_in(by_iam, aws)
                return by_iam
    return settings


async def _log_in(settings: Settings, aws: AwsClients) -> None:
    database = Database(settings, aws)
    try:
        async with database.connection() as connection:
            await connection.fetchval("SELECT 1")
    finally:
        await database.close()
