"""Tests the answers for each error of Cognito, which an emulated AWS cannot cause."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from gameserver.functions import auth
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings

T = TypeVar("T")
SETTINGS = Settings("arena", "test", "eu-west-1", user_pool_id="us-east-1_AbCdEfGhI", client_id="client")

CODE = {"code": " 123456 "}
BODIES: dict[Any, dict[str, str]] = {
    auth.confirm: CODE,
    auth.reset_password: {**CODE, "password": "new"},
    auth.sign_up: {"password": "new", "display_name": "Ada"},
}


class Cognito:
    """Answers each call with the same error, or accepts it."""

    def __init__(self, code: str | None) -> None:
        self.code = code
        self.calls: list[dict[str, str]] = []

    def _answer(self, **parameters: str) -> dict[str, Any]:
        self.calls.append(parameters)
        if self.code == "timeout":
            raise ConnectTimeoutError(endpoint_url="https://cognito")
        if self.code is not None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "ConfirmSignUp")
        return {}

    confirm_sign_up = resend_confirmation_code = forgot_password = confirm_forgot_password = sign_up = _answer


class Aws:
    def __init__(self, code: str | None) -> None:
        self.cognito = Cognito(code)

    async def run(self, call: Callable[[], T]) -> T:
        return call()


async def ask(function: Callable[[Request, Services], Awaitable[Response]], code: str | None) -> tuple[int, Any, Any]:
    """Call the function, and return the status, the body and the calls of Cognito."""
    services = Services(SETTINGS)
    services.aws = Aws(code)  # type: ignore[assignment]
    body = {"email": " Ada@Example.com", **BODIES.get(function, {})}
    calls = services.aws.cognito.calls  # type: ignore[attr-defined]
    try:
        response = await function(Request(json.dumps(body).encode(), source="192.0.2.1"), services)
    except HttpError as error:
        return error.status, error.code, calls
    return response.status, response.body, calls


async def test_a_confirmation_sends_the_code_for_the_normalised_address() -> None:
    sent = {"ClientId": "client", "Username": "ada@example.com", "ConfirmationCode": "123456"}
    assert await ask(auth.confirm, None) == (200, {"confirmed": True}, [sent])
    assert await ask(auth.resend_code, None) == (202, {}, [{"ClientId": "client", "Username": "ada@example.com"}])


@pytest.mark.parametrize(
    "code",
    [
        "AliasExistsException",
        "CodeMismatchException",
        "ExpiredCodeException",
        "NotAuthorizedException",
        "TooManyFailedAttemptsException",
        "UserNotFoundException",
    ],
)
async def test_the_state_of_an_account_does_not_change_the_answer(code: str) -> None:
    assert (await ask(auth.confirm, code))[:2] == (400, "invalid_code")
    assert (await ask(auth.reset_password, code))[:2] == (400, "reset_refused")
    assert (await ask(auth.resend_code, code))[:2] == (202, {})
    assert (await ask(auth.forgot_password, code))[:2] == (202, {})


@pytest.mark.parametrize("code", ["InvalidPasswordException", "PasswordHistoryPolicyViolationException"])
async def test_a_weak_new_password_has_the_answer_of_a_wrong_code(code: str) -> None:
    """Test that a weak password does not show an account, because Cognito checks the password of an account only."""
    assert (await ask(auth.reset_password, code))[:2] == (400, "reset_refused")


async def test_a_sign_up_whose_mail_was_refused_has_the_answer_of_an_existing_account() -> None:
    refused = await ask(auth.sign_up, "CodeDeliveryFailureException")
    existing = await ask(auth.sign_up, "UsernameExistsException")
    assert refused[0] == existing[0] == 201
    assert refused[1].keys() == existing[1].keys()
    assert not refused[1]["confirmed"]


@pytest.mark.parametrize(
    "function", [auth.confirm, auth.resend_code, auth.forgot_password, auth.reset_password, auth.sign_up]
)
@pytest.mark.parametrize(
    ("code", "answer"),
    [("TooManyRequestsException", (429, "too_many_requests")), ("timeout", (503, "identity_unavailable"))],
)
async def test_a_cognito_that_does_not_work_is_reported(function: Any, code: str, answer: tuple[int, str]) -> None:
    assert (await ask(function, code))[:2] == answer


def test_accounts_are_looked_up_in_the_region_of_the_user_pool() -> None:
    """Test another region than the primary one, whose players share the user pool of the primary region."""
    aws = Services(SETTINGS).aws
    assert aws.cognito.meta.region_name == "us-east-1"
    assert aws.dynamodb.meta.region_name == "eu-west-1"
    aws.close()


def test_without_a_user_pool_the_region_is_the_process_region() -> None:
    assert Settings("arena", "test", "eu-west-1").identity_region == "eu-west-1"
