"""Tests the answers about a second factor for each error of Cognito, which an emulated AWS cannot cause."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from gameserver.functions import second_factor
from gameserver.functions.http import HttpError, Request
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings

SETTINGS = Settings("arena", "test", "eu-west-1", user_pool_id="us-east-1_AbCdEfGhI", client_id="client")


class VerifyingCognito:
    """Answers VerifySoftwareToken with a status or an error."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.preferred = False

    def verify_software_token(self, **_: str) -> dict[str, str]:
        if self.answer not in ("SUCCESS", "ERROR"):
            raise ClientError({"Error": {"Code": self.answer, "Message": "no"}}, "VerifySoftwareToken")
        return {"Status": self.answer}

    def admin_set_user_mfa_preference(self, **_: Any) -> None:
        self.preferred = True


class VerifyingAws:
    def __init__(self, answer: str) -> None:
        self.cognito = VerifyingCognito(answer)

    async def run(self, call: Any) -> Any:
        return call()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("ERROR", 400),
        ("CodeMismatchException", 400),
        ("EnableSoftwareTokenMFAException", 400),
        ("NotAuthorizedException", 401),
        ("TooManyRequestsException", 429),
        ("InternalErrorException", 503),
    ],
)
async def test_an_app_that_was_not_verified_is_not_switched_on(answer: str, status: int) -> None:
    services = Services(SETTINGS)
    services.aws = VerifyingAws(answer)  # type: ignore[assignment]
    with pytest.raises(HttpError) as error:
        await second_factor.verify(Request(b'{"code": "1"}', player_id="p", access_token="t"), services)
    assert error.value.status == status
    assert not services.aws.cognito.preferred  # type: ignore[attr-defined]
