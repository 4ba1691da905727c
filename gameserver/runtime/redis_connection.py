"""Makes the Redis clients of the game server, the API and the functions."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from gameserver.runtime import secrets
from gameserver.runtime.aws import AwsClients
from gameserver.runtime.settings import Settings, SettingsError

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0


class _SecretCredentials(CredentialProvider):
    """Reads the secret with the login of Redis for each new connection, so that the password can be rotated."""

    def __init__(self, reference: str, aws: AwsClients) -> None:
        self._reference = reference
        self._aws = aws

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = secrets.resolve(self._reference, self._aws)
        password = secret.get("password", "")
        return (secret["username"], password) if "username" in secret else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await self._aws.run(self.get_credentials)


class _IamCredentials(CredentialProvider):
    """Logs in to ElastiCache with the IAM role of the process. The password is a signed request, valid for 15 minutes.

    ElastiCache closes a connection with an IAM login after 12 hours, and the client then opens a new connection.
    """

    def __init__(self, replication_group: str, user: str, aws: AwsClients) -> None:
        self._replication_group = replication_group
        self._user = user
        self._aws = aws

    def get_credentials(self) -> tuple[str, str]:
        parameters = {"Action": "connect", "User": self._user}
        return self._user, self._aws.sign_for_password("elasticache", self._replication_group, parameters)

    async def get_credentials_async(self) -> tuple[str, str]:
        return await self._aws.run(self.get_credentials)


def open_state(settings: Settings, aws: AwsClients, **options: Any) -> Redis:
    """Return a client of the region's state store, which keeps the running matches and the list of game servers.

    The description of `_open` applies to the client. If the state store runs in cluster mode, the client is a
    `StateCluster`, which repeats a command at most once.

    Args:
        settings: provides the address and the secret.
        aws: reads the secret, or signs the login by IAM.
        options: arguments of `redis.asyncio.Redis` that replace the defaults of this function.

    Raises:
        SettingsError: GAMESERVER_STATE_URL is not set.
    """
    if not settings.state_url:
        raise SettingsError("GAMESERVER_STATE_URL is not set")
    if settings.state_cluster:
        from gameserver.runtime.state_cluster import StateCluster

        # After a failed attempt, redis-py reads the slots again, and sends the command to the new primary.
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), 1, supported_errors=(RedisConnectionError,))
        # A client without full coverage still serves the matches of the other shards after the loss of a shard.
        arguments = {"retry": retry, "require_full_coverage": False, "reinitialize_steps": 1, **options}
        # RedisCluster has the methods of Redis that the state store uses.
        return cast("Redis", _open(StateCluster, settings.state_url, settings.state_secret, settings, aws, arguments))
    return cast("Redis", _open(Redis, settings.state_url, settings.state_secret, settings, aws, options))


def open_cache(settings: Settings, aws: AwsClients, **options: Any) -> Redis:
    """Return a client of the region's cache, which may evict its values.

    The description of `_open` applies to the client.

    Args:
        settings: provides the address and the secret.
        aws: reads the secret, or signs the login by IAM.
        options: arguments of `redis.asyncio.Redis` that replace the defaults of this function.

    Raises:
        SettingsError: GAMESERVER_CACHE_URL is not set.
    """
    if not settings.cache_url:
        raise SettingsError("GAMESERVER_CACHE_URL is not set")
    return cast("Redis", _open(Redis, settings.cache_url, settings.cache_secret, settings, aws, options))


def _open(
    client: Any, url: str, secret: str | None, settings: Settings, aws: AwsClients, options: dict[str, Any]
) -> object:
    """Return a client that answers with bytes and connects at its first command.

    With a `rediss://` address, the client verifies the server's certificate. The client repeats a command at most twice
    after a lost connection, but never because an answer is late. With the secret `iam:<replication group>` the user in
    the address logs in by IAM.
    """
    arguments: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 2, supported_errors=(RedisConnectionError,)),
        "client_name": "gameserver",
        **options,
    }
    parts = urlsplit(url)
    if secret is not None:
        # redis-py accepts a user from the address or from a credential provider, but not from both, so the user is
        # removed from the address.
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if secret is not None and secret.startswith("iam:"):
        group = secret.removeprefix("iam:")
        arguments["credential_provider"] = _IamCredentials(group, parts.username or "default", aws)
    elif secret is not None:
        arguments["credential_provider"] = _SecretCredentials(secret, aws)
    if url.startswith("rediss://") and settings.tls_ca_file:
        arguments["ssl_ca_certs"] = settings.tls_ca_file
    return client.from_url(url, **arguments)
