from __future__ import annotations

from typing import Any

import boto3
import jwt
import pytest

from gameserver.runtime.auth import is_internal
from gameserver.runtime.settings import Settings
from mjctl.clients.boto import RegionClients
from mjctl.clients.internal_accounts import mark_internal
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
        tokens = cognito.initiate_auth(
            ClientId=settings.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
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
