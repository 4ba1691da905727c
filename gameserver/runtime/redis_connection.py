"""Makes the Redis clients of the game server, the API and the functions."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.credentials import CredentialProvider

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


def open_redis(settings: Settings, aws: AwsClients, **options: Any) -> Redis:
    """Return a client of the region's Redis that answers with bytes and connects at its first command.

    With a `rediss://` address, the client verifies the server's certificate. The client repeats a command at most twice
    after a lost connection, but never because an answer is late. With the secret `iam:<replication group>` the user in
    the address logs in by IAM.

    Args:
        settings: provides the address and the secret.
        aws: reads the secret, or signs the login by IAM.
        options: arguments of `redis.asyncio.Redis` that replace the defaults of this function.

    Raises:
        SettingsError: GAMESERVER_CACHE_URL is not set.
    """
    from redis.exceptions import ConnectionError as RedisConnectionError

    arguments: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 2, supported_errors=(RedisConnectionError,)),
        "client_name": "gameserver",
        **options,
    }
    if not settings.cache_url:
        raise SettingsError("GAMESERVER_CACHE_URL is not set")
    url = settings.cache_url
    parts = urlsplit(url)
    if settings.cache_secret is not None:
        # redis-py accepts a user from the address or from a credential provider, but not from both, so the user is
        # removed from the address.
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if settings.cache_secret is not None and settings.cache_secret.startswith("iam:"):
        group = settings.cache_secret.removeprefix("iam:")
        arguments["credential_provider"] = _IamCredentials(group, parts.username or "default", aws)
    elif settings.cache_secret is not None:
        arguments["credential_provider"] = _SecretCredentials(settings.cache_secret, aws)
    if url.startswith("rediss://") and settings.tls_ca_file:
        arguments["ssl_ca_certs"] = settings.tls_ca_file
    client: Redis = Redis.from_url(url, **arguments)
    return client
