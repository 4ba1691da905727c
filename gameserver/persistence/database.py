"""Connects to PostgreSQL by a small pool. The pool connects at the first use, and reconnects after a failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import structlog

from gameserver.runtime import secrets
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings, SettingsError
from gameserver.runtime.tls import database_context

log = structlog.get_logger()

IAM = "iam"
"""The value of the setting `database_secret` for a login by IAM."""

# An execution environment of Lambda serves one event at a time, and an event uses one connection at a time. A burst of
# cold starts therefore opens at most one connection for each unit of reserved concurrency (terraform/stacks/region).
_POOL_SIZE = 5
# A token is used again for 10 of the 15 minutes for which it is valid.
_TOKEN_SECONDS = 600.0
_CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 10.0
_AWAY = (
    OSError,
    TimeoutError,
    secrets.SecretError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # A query raises UndefinedTableError until the migrations have created the tables.
    asyncpg.UndefinedTableError,
    asyncpg.ReadOnlySQLTransactionError,
)


class DatabaseUnavailable(Exception):
    """Reports that the database does not answer. A transaction in progress may or may not have been committed."""


class Database:
    """Holds connections to PostgreSQL.

    The first use of the object connects, and a later use connects again after a failure. If the settings name two
    hosts, a failure makes the next use connect to the other host. So the process finds the writer of the global
    database after the writer has moved to another region.

    Args:
        settings: settings of the process.
        aws: clients of AWS, which read the database's password.

    Raises:
        SettingsError: the settings lack the host, the name or the user of the database.
    """

    def __init__(self, settings: Settings, aws: AwsClients) -> None:
        if not (settings.database_host and settings.database_name and settings.database_user):
            raise SettingsError("set GAMESERVER_DATABASE_HOST, GAMESERVER_DATABASE_NAME and GAMESERVER_DATABASE_USER")
        hosts = filter(None, (settings.database_host, settings.database_other_host))
        self._hosts = [replace(settings, database_host=host) for host in hosts]
        self._aws = aws
        self._tokens = [IamToken(host, aws) for host in self._hosts]
        self._at = 0
        self._pool: Any = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection of asyncpg to the body of an `async with`.

        Raises:
            DatabaseUnavailable: the database does not answer, before or during the body of the `async with`.
        """
        pool, lent = None, False
        try:
            pool = await self._open()
            async with pool.acquire(timeout=_CONNECT_SECONDS) as connection:
                lent = True
                yield connection
        except _AWAY as error:
            if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
                # The token may be older than the credentials of this process allow.
                self._tokens[self._at].forget()
            elif pool is not None and (
                # After a failover, open connections lead to a server that is a reader now, and only new connections
                # find the new writer:
                # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.BestPractices.FastFailover.html
                isinstance(error, asyncpg.ReadOnlySQLTransactionError)
                # A busy pool has open connections.
                or (not lent and pool.get_size() == 0)
            ):
                await self._leave(pool)
            raise DatabaseUnavailable(f"PostgreSQL: {type(error).__name__}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Lend a connection with an open transaction. The transaction commits when the body ends without an exception.

        Raises:
            DatabaseUnavailable: the database does not answer, before or during the body of the `async with`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def ping(self) -> None:
        """Check that the database answers and that the migrations have created its tables.

        Raises:
            DatabaseUnavailable: the database does not answer, or has no tables yet.
        """
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1 FROM processed_events LIMIT 1")

    async def close(self) -> None:
        """Wait at most 3 s for lent connections, and close all connections. A second call of `close` does nothing."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await _close(pool)

    async def _leave(self, pool: Any) -> None:
        """Connect to the other host at the next use, or with a single host to the same host by new connections.

        Args:
            pool: the pool that failed. If another caller has replaced the pool already, the call changes nothing.
        """
        async with self._opening:
            if pool is not self._pool:
                return
            self._pool = None
            self._change_host()
        await _close(pool)

    def _change_host(self) -> None:
        self._at = (self._at + 1) % len(self._hosts)
        if len(self._hosts) > 1:
            log.warning("database_host_changed", host=self._hosts[self._at].database_host)

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                try:
                    self._pool = await asyncpg.create_pool(
                        **connection_options(self._hosts[self._at], self._aws, self._tokens[self._at]),
                        min_size=1,
                        max_size=_POOL_SIZE,
                        max_inactive_connection_lifetime=60,
                        command_timeout=_COMMAND_SECONDS,
                    )
                except asyncpg.InvalidAuthorizationSpecificationError:
                    raise
                except _AWAY:
                    # Change the host before another caller gets the lock, so that two callers do not change it twice.
                    self._change_host()
                    raise
            return self._pool


async def _close(pool: Any) -> None:
    """Wait at most 3 s for the lent connections of a pool, and close all its connections."""
    try:
        await asyncio.wait_for(pool.close(), 3)
    except TimeoutError:
        pool.terminate()


def needs_iam(error: DatabaseUnavailable) -> bool:
    """Return whether the database refused a password because the user must log in by IAM.

    Aurora answers with the error code 28000, and to a wrong password with 28P01.
    """
    cause = error.__cause__
    return isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError) and not isinstance(
        cause, asyncpg.InvalidPasswordError
    )


class IamToken:
    """Makes the tokens with which a user logs in to Aurora by IAM, instead of a password.

    A token is valid for 15 minutes. Aurora checks the token at the beginning of a connection only. Aurora accepts at
    most 200 connections with new tokens in a second, and any number of connections with a token that it has seen:
    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
    """

    def __init__(self, settings: Settings, aws: AwsClients) -> None:
        self._host = f"{settings.database_host}:{settings.database_port}"
        self._user = settings.database_user
        self._aws = aws
        self._token = ""
        self._expires = 0.0

    async def get(self) -> str:
        """Return a token that is valid for at least 5 minutes.

        Raises:
            SecretError: this process has no credentials of AWS.
        """
        from botocore.exceptions import BotoCoreError

        # Use the system's clock instead of a monotonic clock, because a monotonic clock may stand still while Lambda
        # freezes the process.
        if time.time() >= self._expires:
            parameters = {"Action": "connect", "DBUser": self._user}
            expires = time.time() + _TOKEN_SECONDS
            try:
                self._token = await self._aws.run(lambda: self._aws.sign_for_password("rds-db", self._host, parameters))
            except BotoCoreError as error:
                raise secrets.SecretError(f"no token for the user {self._user} of the database: {error}") from error
            self._expires = expires
        return self._token

    def forget(self) -> None:
        """Make a new token at the next call of `get`, because the database has refused the token."""
        self._expires = 0.0


def connection_options(settings: Settings, aws: AwsClients, token: IamToken | None = None) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`.

    Each connection reads the password again, so that the password can be rotated. With the secret `iam`, the user logs
    in by IAM.
    """
    iam = token or IamToken(settings, aws)

    async def password() -> str:
        if settings.database_secret is None:
            return ""
        if settings.database_secret == IAM:
            return await iam.get()
        reference = settings.database_secret
        return (await aws.run(lambda: secrets.resolve(reference, aws))).get("password", "")

    return {
        "host": settings.database_host,
        "port": settings.database_port,
        "database": settings.database_name,
        "user": settings.database_user,
        "password": password,
        "ssl": database_context(settings) or False,
        "timeout": _CONNECT_SECONDS,
        "server_settings": {"application_name": "gameserver"},
    }
