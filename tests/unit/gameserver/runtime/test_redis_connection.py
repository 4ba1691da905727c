from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from gameserver.runtime.aws import AwsClients
from gameserver.runtime.redis_connection import open_cache, open_state
from gameserver.runtime.settings import Settings, SettingsError


def _settings(**options: str) -> Settings:
    return Settings("game", "prod", "eu-west-1", **options)


async def test_iam_log_in_signs_a_short_lived_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    aws = AwsClients("eu-west-1")
    settings = _settings(
        state_url="rediss://game-user@cache.example.com:6379",
        state_secret="iam:game-prod-eu",
        cache_url="rediss://other@127.0.0.1:1",
        cache_secret="iam:other",
    )
    async with open_state(settings, aws) as redis:
        options = redis.connection_pool.connection_kwargs
        assert (options["host"], options["port"]) == ("cache.example.com", 6379)
        user, password = await options["credential_provider"].get_credentials_async()
    aws.close()
    assert user == "game-user"
    address = urlsplit(f"//{password}")
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert (address.netloc, address.path) == ("game-prod-eu", "/")
    assert (query["Action"], query["User"], query["X-Amz-Expires"]) == ("connect", "game-user", "900")
    assert query["X-Amz-Credential"].startswith("AKIDEXAMPLE/")
    assert query["X-Amz-Credential"].endswith("/eu-west-1/elasticache/aws4_request")
    assert query["X-Amz-Security-Token"] == "session"
    assert len(query["X-Amz-Signature"]) == 64


def test_a_missing_address_is_a_settings_error() -> None:
    aws = AwsClients("eu-west-1")
    address = "redis://127.0.0.1:1"
    with pytest.raises(SettingsError, match="GAMESERVER_CACHE_URL"):
        open_cache(_settings(state_url=address), aws)
    with pytest.raises(SettingsError, match="GAMESERVER_STATE_URL"):
        open_state(_settings(cache_url=address), aws)
    aws.close()
