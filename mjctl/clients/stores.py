"""Opens connections to the PostgreSQL, the state store and the cache of a region."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.secrets import read_secret
from mjctl.clients.tls import ssl_context
from mjctl.models.contract import Contract, RedisAccess
from mjctl.models.errors import RefusedError

if TYPE_CHECKING:
    from redis.asyncio import Redis


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
    secret = await read_secret(part.secret, clients)
    connection = None
    try:
        connection = await asyncpg.connect(
            host=part.host,
            port=part.port,
            database=part.name,
            user=part.user,
            password=secret.get("password"),
            ssl=ssl_context(contract) if part.tls else False,
            timeout=timeout_seconds,
            command_timeout=timeout_seconds,
            server_settings={"application_name": "mjctl"},
        )
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
        raise unreachable(contract, "PostgreSQL", address, error) from error
    finally:
        if connection is not None:
            connection.terminate()


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
