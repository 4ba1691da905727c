"""Tests the answers for errors of Cognito, KMS and SES, which an emulated AWS cannot cause."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from gameserver.functions import auth
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.services import Services
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

T = TypeVar("T")
SETTINGS = Settings(
    "arena",
    "test",
    "eu-west-1",
    user_pool_id="us-east-1_AbCdEfGhI",
    client_id="client",
    code_key_arn="key",
    mail_sender="no-reply@arena.example.com",
    tables={"matches": "matches", "players": "players", "processed_events": "processed_events"},
)
CODE = {"code": f" {'0' * 12} "}
BODIES: dict[Any, dict[str, str]] = {
    auth.confirm: CODE,
    auth.reset_password: {**CODE, "password": "new"},
    auth.sign_up: {"password": "new password", "display_name": "Ada"},
}
NOW = datetime(2026, 11, 30, tzinfo=UTC)


class FaultyAws:
    """Answers each call of AWS, or raises the error that `faults` has for the operation.

    Attributes:
        calls: names of the operations that were called.
        user: account that AdminGetUser returns, with the attributes `status` and `verified`.
    """

    def __init__(self, faults: dict[str, str], status: str = "CONFIRMED", verified: str = "false") -> None:
        self.faults = faults
        self.calls: list[str] = []
        self.user = {
            "UserAttributes": [{"Name": "sub", "Value": "id"}, {"Name": "email_verified", "Value": verified}],
            "UserStatus": status,
            "Enabled": True,
            "UserCreateDate": NOW,
            "UserLastModifiedDate": NOW,
        }
        self.cognito = self.code_kms = self.mail = self.dynamodb = self

    async def run(self, call: Callable[[], T]) -> T:
        return call()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        answers: dict[str, Any] = {
            "admin_create_user": {"User": {"Attributes": [{"Name": "sub", "Value": "id"}]}},
            "admin_get_user": self.user,
            "describe_user_pool": {"UserPool": {}},
            "generate_mac": {"Mac": bytes(32)},
        }

        def call(**_: Any) -> Any:
            self.calls.append(operation)
            fault = self.faults.get(operation)
            if fault == "timeout":
                raise ConnectTimeoutError(endpoint_url="https://aws")
            if fault:
                raise ClientError({"Error": {"Code": fault, "Message": "no"}}, operation)
            return answers.get(operation, {})

        return call


async def ask(function: Callable[[Request, Services], Awaitable[Response]], aws: FaultyAws) -> tuple[int, Any]:
    """Call the function, and return the status and the body, or the code of the error."""
    services = Services(SETTINGS)
    services.aws = aws  # type: ignore[assignment]
    services.mail_answer_seconds = 0.0
    body = {"email": " Ada@Example.com", **BODIES.get(function, {})}
    try:
        response = await function(Request(json.dumps(body).encode(), source="192.0.2.1"), services)
    except HttpError as error:
        return error.status, error.code
    return response.status, response.body


NOBODY = {"admin_get_user": "UserNotFoundException"}


async def test_the_right_code_confirms_or_resets() -> None:
    confirmed = FaultyAws({})
    assert await ask(auth.confirm, confirmed) == (200, {"confirmed": True})
    assert confirmed.calls[-1] == "admin_update_user_attributes"
    reset = FaultyAws({}, verified="true")
    assert await ask(auth.reset_password, reset) == (200, {})
    assert reset.calls[-2:] == ["admin_set_user_password", "admin_user_global_sign_out"]


@pytest.mark.parametrize(
    ("status", "verified"),
    [("CONFIRMED", "true"), ("FORCE_CHANGE_PASSWORD", "false"), ("ARCHIVED", "false"), ("EXTERNAL_PROVIDER", "true")],
)
async def test_the_right_code_confirms_no_account_in_another_state(status: str, verified: str) -> None:
    aws = FaultyAws({}, status, verified)
    assert await ask(auth.confirm, aws) == await ask(auth.confirm, FaultyAws(NOBODY)) == (400, "invalid_code")
    assert await ask(auth.resend_code, aws) == await ask(auth.resend_code, FaultyAws(NOBODY)) == (202, {})
    assert {"send_email", "admin_update_user_attributes", "admin_confirm_sign_up"}.isdisjoint(aws.calls)


@pytest.mark.parametrize(
    ("status", "verified"),
    [("CONFIRMED", "false"), ("UNCONFIRMED", "false"), ("FORCE_CHANGE_PASSWORD", "true"), ("ARCHIVED", "true")],
)
async def test_the_right_code_resets_no_account_in_another_state(status: str, verified: str) -> None:
    aws = FaultyAws({}, status, verified)
    refused = (400, "reset_refused")
    assert await ask(auth.reset_password, aws) == await ask(auth.reset_password, FaultyAws(NOBODY)) == refused
    assert await ask(auth.forgot_password, aws) == await ask(auth.forgot_password, FaultyAws(NOBODY)) == (202, {})
    assert {"send_email", "admin_set_user_password"}.isdisjoint(aws.calls)


@pytest.mark.parametrize("code", ["InvalidPasswordException", "PasswordHistoryPolicyViolationException"])
async def test_a_weak_new_password_has_the_answer_of_a_wrong_code(code: str) -> None:
    aws = FaultyAws({"admin_set_user_password": code}, verified="true")
    assert await ask(auth.reset_password, aws) == (400, "reset_refused")


async def test_an_account_without_a_password_is_removed_if_cognito_refuses_the_password() -> None:
    aws = FaultyAws({"admin_set_user_password": "InvalidPasswordException"})
    assert await ask(auth.sign_up, aws) == (400, "weak_password")
    assert aws.calls[-1] == "admin_delete_user"


@pytest.mark.parametrize(
    "fault", [{"send_email": "MessageRejected"}, {"send_email": "timeout"}, {"generate_mac": "DisabledException"}]
)
async def test_a_sign_up_without_a_mail_has_the_answer_of_an_existing_account(fault: dict[str, str]) -> None:
    refused = await ask(auth.sign_up, FaultyAws(fault))
    existing = await ask(auth.sign_up, FaultyAws({"admin_create_user": "UsernameExistsException"}))
    assert refused[0] == existing[0] == 201
    assert refused[1].keys() == existing[1].keys()
    assert not refused[1]["confirmed"]


@pytest.mark.parametrize("function", [auth.resend_code, auth.forgot_password])
async def test_a_mail_that_ses_refuses_has_the_answer_of_a_sent_mail(function: Any) -> None:
    aws = FaultyAws({"send_email": "AccountSuspendedException"}, verified=str(function is auth.forgot_password).lower())
    assert await ask(function, aws) == (202, {})
    assert aws.calls[-1] == "send_email"


FIRST_CALL = {auth.sign_up: "describe_user_pool"}


@pytest.mark.parametrize(
    "function", [auth.confirm, auth.resend_code, auth.forgot_password, auth.reset_password, auth.sign_up]
)
@pytest.mark.parametrize(
    ("code", "answer"),
    [("TooManyRequestsException", (429, "too_many_requests")), ("timeout", (503, "identity_unavailable"))],
)
async def test_a_cognito_that_does_not_work_is_reported(function: Any, code: str, answer: tuple[int, str]) -> None:
    operation = FIRST_CALL.get(function, "admin_get_user")
    assert await ask(function, FaultyAws({operation: code})) == answer


@pytest.mark.parametrize("function", [auth.confirm, auth.resend_code, auth.forgot_password, auth.reset_password])
@pytest.mark.parametrize("faults", [{}, NOBODY])
async def test_a_kms_that_does_not_work_is_reported_for_every_address(function: Any, faults: dict[str, str]) -> None:
    with pytest.raises(KeyUnavailable):
        await ask(function, FaultyAws({**faults, "generate_mac": "timeout"}))


def test_accounts_are_looked_up_in_the_region_of_the_user_pool() -> None:
    """Test another region than the primary one, whose players share the user pool of the primary region."""
    aws = Services(SETTINGS).aws
    assert aws.cognito.meta.region_name == aws.mail.meta.region_name == aws.code_kms.meta.region_name == "us-east-1"
    assert aws.dynamodb.meta.region_name == aws.kms.meta.region_name == "eu-west-1"
    aws.close()


def test_without_a_user_pool_the_region_is_the_process_region() -> None:
    assert Settings("arena", "test", "eu-west-1").identity_region == "eu-west-1"
