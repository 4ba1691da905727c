"""Opens connections to the PostgreSQL, the state store and the cache of a region."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.secrets import read_secret
from mjctl.clients.tls import database_context
from mjctl.models.contract import Contract, RedisAccess
from mjctl.models.errors import PermissionDeniedError, RefusedError

if TYPE_CHECKING:
    from redis.asyncio import Redis

IAM = "iam"
"""The value of `secret` in the contract's database with which the user logs in by IAM, without a password."""


@asynccontextmanager
async def database(contract: Contract, clients: RegionClients, *, timeout_seconds: float = 5.0) -> AsyncIterator[Any]:
    """Open an asyncpg connection to the region's PostgreSQL, and close it at the end of the block.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region, which read the password.
        timeout_seconds: The time limit of connecting, and of each statement.

    Raises:
        UnreachableError: PostgreSQL does not answer, refuses the user, or closes the connection.
        NotFoundError: the secret or the authority's certificate does not exist.
        PermissionDeniedError: the secret cannot be read.
    """
    import asyncpg

    part = contract.database
    address = f"{part.host}:{part.port}/{part.name}"
    options = await database_options(contract, clients, timeout_seconds)
    connection = None
    try:
        connection = await asyncpg.connect(**options, command_timeout=timeout_seconds)
        yield connection
    except (
        OSError,
        TimeoutError,
        asyncpg.InterfaceError,
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ) as error:
        if part.secret == IAM and isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
            raise PermissionDeniedError(
                f"PostgreSQL refuses the log-in of the user {part.user} by IAM: {error}",
                where=f"{contract.environment}, {contract.region}, {address}",
                hint=f"`mjctl deploy {contract.scope}` creates the user {part.user}; "
                "the role of this program needs the permission rds-db:connect for this user",
            ) from error
        raise unreachable(contract, "PostgreSQL", address, error) from error
    finally:
        if connection is not None:
            connection.terminate()


async def database_options(contract: Contract, clients: RegionClients, timeout_seconds: float) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` for the region's PostgreSQL.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region, which read the password or sign the token.
        timeout_seconds: The time limit of connecting.

    Raises:
        NotFoundError: the secret or the authority's certificate does not exist.
        PermissionDeniedError: the secret cannot be read, or this process has no credentials for a token.
    """
    part = contract.database
    password: str | Callable[[], Awaitable[str]] | None
    if part.secret == IAM:
        # asyncpg calls the function for each connection, so a connection never uses an expired token.
        password = partial(_token, contract, clients)
    else:
        password = (await read_secret(part.secret, clients)).get("password")
    return {
        "host": part.host,
        "port": part.port,
        "database": part.name,
        "user": part.user,
        "password": password,
        "ssl": database_context(contract) if part.tls else False,
        "timeout": timeout_seconds,
        "server_settings": {"application_name": "mjctl"},
    }


async def _token(contract: Contract, clients: RegionClients) -> str:
    """Return a token that PostgreSQL accepts as a password for 15 minutes. An open connection outlives its token.

    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
    """
    part = contract.database

    def sign() -> str:
        token: str = clients.client("rds").generate_db_auth_token(
            DBHostname=part.host, Port=part.port, DBUsername=part.user, Region=contract.region
        )
        return token

    try:
        return await asyncio.to_thread(sign)
    except Exception as error:
        raise clients.explain(error, f"token of the database user {part.user}") or error from error


@asynccontextmanager
async def cache(contract: Contract, clients: RegionClients, *, timeout_seconds: float = 5.0) -> AsyncIterator[Redis]:
    """Open a client of the region's cache, and close it at the end of the block.

    The description and the errors of `_redis` apply to the client.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region, which read the password.
        timeout_seconds: The time limit of connecting, and of each command.
    """
    async with _redis(contract, contract.cache, "cache", clients, timeout_seconds) as client:
        yield client


@asynccontextmanager
async def state(contract: Contract, clients: RegionClients, *, timeout_seconds: float = 5.0) -> AsyncIterator[Redis]:
    """Open a client of the region's state store, and close it at the end of the block.

    The description and the errors of `_redis` apply to the client.

    Args:
        contract: The contract of the region.
        clients: The AWS clients of the region, which read the password.
        timeout_seconds: The time limit of connecting, and of each command.
    """
    async with _redis(contract, contract.state, "state store", clients, timeout_seconds) as client:
        yield client


@asynccontextmanager
async def _redis(
    contract: Contract, part: RedisAccess, name: str, clients: RegionClients, timeout_seconds: float
) -> AsyncIterator[Redis]:
    """Open a client of a Redis, and close it at the end of the block.

    The client returns Redis's keys and values as bytes. The client repeats a command once if the connection was lost,
    but not if the command timed out.

    Args:
        contract: The contract of the region.
        part: The Redis.
        name: The name of the Redis in messages: `cache` or `state store`.
        clients: The AWS clients of the region, which read the password.
        timeout_seconds: The time limit of connecting, and of each command.

    Raises:
        UnreachableError: Redis does not answer or answers with an error, or another program answers.
        RefusedError: the Redis is private, and only programs in its VPC can connect to it.
        NotFoundError: the secret does not exist.
        PermissionDeniedError: the secret cannot be read.
    """
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError

    if part.access != "direct":
        raise RefusedError(
            f"this command needs a direct connection to the {name}, which only programs in its VPC have",
            where=f"{contract.environment}, {contract.region}, {redis_address(part)}",
            hint="use `mjctl cache` and `mjctl servers`, which reach the stores through the ops function",
        )
    secret = await read_secret(part.secret, clients) if part.secret else {}
    authority: dict[str, Any] = {"ssl_ca_certs": contract.ca_file} if contract.ca_file else {}
    client = Redis.from_url(
        part.url,
        **authority,
        username=secret.get("username"),
        password=secret.get("password"),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        # Do not retry after a timeout: a repeated long command would double the load that made the command slow.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        retry_on_timeout=False,
        client_name="mjctl",
    )
    try:
        yield client
    except (RedisError, OSError) as error:
        raise unreachable(contract, f"the {name}", redis_address(part), error) from error
    finally:
        await client.aclose()


def redis_address(part: RedisAccess) -> str:
    """Return the address of a Redis for messages, without the user and the password that its URL may contain."""
    parts = urlsplit(part.url)
    host = parts.hostname or "?"
    netloc = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
