from __future__ import annotations

from typing import Any

import boto3
import jwt
import pytest

from gameserver.runtime.auth import is_internal
from gameserver.runtime.settings import Settings
from mjctl.clients import internal_accounts
from mjctl.clients.boto import RegionClients, ThrottledError
from mjctl.clients.internal_accounts import create_account, mark_internal, remove_account
from mjctl.local.emulated import sign_everything
from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError

PASSWORD = "correct Horse 7 battery"


def cognito_of(settings: Settings) -> Any:
    client = boto3.client("cognito-idp", endpoint_url=settings.aws_endpoint_url, region_name=settings.region)
    return sign_everything(client)


def sign_up(cognito: Any, settings: Settings, email: str) -> str:
    attributes = [{"Name": "email", "Value": email}]
    answer = cognito.sign_up(ClientId=settings.client_id, Username=email, Password=PASSWORD, UserAttributes=attributes)
    cognito.admin_confirm_sign_up(UserPoolId=settings.user_pool_id, Username=answer["UserSub"])
    return str(answer["UserSub"])


async def test_only_the_next_token_of_a_marked_account_is_internal(contract: Contract, settings: Settings) -> None:
    cognito = cognito_of(settings)

    def token_is_internal(email: str) -> bool:
        tokens = cognito.admin_initiate_auth(
            UserPoolId=settings.user_pool_id,
            ClientId=settings.client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
        )["AuthenticationResult"]
        claims = jwt.decode(tokens["AccessToken"], options={"verify_signature": False})
        return is_internal(claims.get("cognito:groups"))

    probe = sign_up(cognito, settings, "probe@example.com")
    sign_up(cognito, settings, "player@example.com")
    assert not token_is_internal("probe@example.com")
    with RegionClients(contract) as clients:
        await mark_internal(contract, clients, probe)
        # A client repeats a call if the answer of AWS was lost, so the second call must succeed too.
        await mark_internal(contract, clients, probe)
    assert token_is_internal("probe@example.com")
    assert not token_is_internal("player@example.com")


async def test_the_error_of_a_pool_without_the_group_has_advice(contract: Contract, settings: Settings) -> None:
    cognito = cognito_of(settings)
    player = sign_up(cognito, settings, "probe@example.com")
    cognito.delete_group(UserPoolId=settings.user_pool_id, GroupName="internal")
    with RegionClients(contract) as clients, pytest.raises(NotFoundError) as missing:
        await mark_internal(contract, clients, player)
    assert "mjctl deploy" in str(missing.value.hint)


async def test_a_created_account_can_log_in_at_once_and_is_internal(contract: Contract, settings: Settings) -> None:
    cognito = cognito_of(settings)
    with RegionClients(contract) as clients:
        player_id = await create_account(contract, clients, "made@example.com", PASSWORD)
        tokens = cognito.admin_initiate_auth(
            UserPoolId=settings.user_pool_id,
            ClientId=settings.client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "made@example.com", "PASSWORD": PASSWORD},
        )["AuthenticationResult"]
        claims = jwt.decode(tokens["AccessToken"], options={"verify_signature": False})
        assert (claims["sub"], is_internal(claims["cognito:groups"])) == (player_id, True)
        await remove_account(contract, clients, "made@example.com")
        await remove_account(contract, clients, "made@example.com")
    with pytest.raises(cognito.exceptions.UserNotFoundException):
        cognito.admin_get_user(UserPoolId=settings.user_pool_id, Username=player_id)


async def test_a_throttled_call_is_repeated(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internal_accounts, "_PAUSE_SECONDS", 0)
    answers: list[Exception | dict[str, Any]] = [ThrottledError("wait"), ThrottledError("wait"), {}]

    async def call_in(*_: Any, **__: Any) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with RegionClients(contract) as clients:
        monkeypatch.setattr(clients, "call_in", call_in)
        await mark_internal(contract, clients, "player")
    assert answers == []
