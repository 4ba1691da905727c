"""Connections to the database and the cache of one region."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mjctl.clients.boto import RegionClients, unreachable
from mjctl.clients.secrets import read_secret
from mjctl.clients.tls import ssl_context
from mjctl.models.contract import Contract
from mjctl.models.errors import RefusedError

if TYPE_CHECKING:
    from redis.asyncio import Redis


@asynccontextmanager
async def database(contract: Contract, clients: RegionClients, *, timeout_seconds: float = 5.0) -> AsyncIterator[Any]:
    """An asyncpg connection, closed at the end.

    Raises:
        UnreachableError: PostgreSQL does not answer, refuses the user, or breaks off.
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
    """A Redis client that answers with bytes, closed at the end; it retries a lost connection once, a timeout never.

    Raises:
        UnreachableError: Redis does not answer, or with an error, or what answers is no Redis.
        RefusedError: the cache is reachable only from inside its network.
    """
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError

    part = contract.cache
    if part.access != "direct":
        raise RefusedError(
            "the cache is private and has no way in from this machine",
            where=f"{contract.environment}, {contract.region}, {cache_address(contract)}",
            hint="`mjctl cache` and `mjctl servers` go through the ops function; this command would need a direct way",
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
        # A long command that is sent again after a timeout doubles the load that made it slow.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        retry_on_timeout=False,
        client_name="mjctl",
    )
    try:
        yield client
    except (RedisError, OSError) as error:
        raise unreachable(contract, "Redis", cache_address(contract), error) from error
    finally:
        await client.aclose()


def cache_address(contract: Contract) -> str:
    """The cache's address for messages: without user or password, should the URL carry one."""
    parts = urlsplit(contract.cache.url)
    host = parts.hostname or "?"
    netloc = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
