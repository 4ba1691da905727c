"""The one place that makes Redis clients for the game's processes."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.credentials import CredentialProvider

from gameserver import secrets
from gameserver.aws import AwsClients
from gameserver.settings import Settings

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0


class _SecretCredentials(CredentialProvider):
    """Reads the secret for each new connection, so that a password can be rotated."""

    def __init__(self, reference: str, aws: AwsClients) -> None:
        self._reference = reference
        self._aws = aws

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = secrets.resolve(self._reference, self._aws)
        password = secret.get("password", "")
        return (secret["username"], password) if "username" in secret else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await self._aws.run(self.get_credentials)


def open_redis(settings: Settings, aws: AwsClients, **options: Any) -> Redis:
    """A client that answers with bytes and connects when first used; `rediss://` verifies the server's certificate.

    A lost connection is tried again twice; a command is never sent a second time because its answer was late.
    `options` override the arguments of `redis.asyncio.Redis`.
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
    if settings.cache_secret is not None:
        arguments["credential_provider"] = _SecretCredentials(settings.cache_secret, aws)
    client: Redis = Redis.from_url(settings.cache_url, **arguments)
    return client
