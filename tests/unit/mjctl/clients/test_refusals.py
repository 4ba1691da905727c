"""Tests of missing, expired, broken and denied credentials, with the errors that botocore raises for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from mjctl.clients.account import Account
from mjctl.clients.boto import RegionClients
from mjctl.clients.error_codes import DENIED_CODES, EXPIRED_CODES
from mjctl.clients.refusals import refusal, terraform_advice
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError, PermissionDeniedError, UnreachableError
from tests.unit.mjctl.clients.identities import BROKEN_IDENTITIES, break_identity

ACCOUNT = Account("prod", "123456789012", "us-east-1", "bucket")
Explain = Callable[[Exception], MjctlError | None]


@pytest.fixture(params=["account", "clients"])
def explain(request: pytest.FixtureRequest, make_contract: Callable[..., Contract]) -> Explain:
    """Return each of the two functions that explain errors of boto3, which must report faulty credentials alike."""
    if request.param == "account":
        return lambda error: ACCOUNT.explain(error, "sts:GetCallerIdentity")
    clients = RegionClients(make_contract(aws={"account_id": "123456789012"}))
    return lambda error: clients.explain(error, "sts:GetCallerIdentity")


@pytest.mark.parametrize("kind", BROKEN_IDENTITIES)
def test_the_error_of_broken_credentials_has_the_advice_that_repairs_them(
    kind: str, explain: Explain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = break_identity(kind, tmp_path, monkeypatch)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - botocore raises many classes of exceptions here
        boto3.Session().client(
            "sts", "us-east-1", config=Config(retries={"total_max_attempts": 1})
        ).get_caller_identity()
    explained = explain(caught.value)
    assert isinstance(explained, PermissionDeniedError), repr(caught.value)
    assert advice in (explained.hint or "")
    assert "network" not in f"{explained} {explained.hint}"
    assert "hunter2" not in f"{explained} {explained.hint}"


@pytest.mark.parametrize("code", sorted(EXPIRED_CODES | DENIED_CODES | {"400", "RequestTimeTooSkewed"}))
def test_every_code_of_a_refusal_becomes_an_error_of_credentials(code: str, explain: Explain) -> None:
    explained = explain(ClientError({"Error": {"Code": code, "Message": "said"}}, "HeadBucket"))
    assert isinstance(explained, PermissionDeniedError)
    expired = "expired" in explained.what
    assert expired is (code in EXPIRED_CODES or code == "400")
    assert ("aws sso login" in (explained.hint or "")) is expired


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://sts.example"),
        ConnectTimeoutError(endpoint_url="https://sts.example"),
        ClientError({"Error": {"Code": "InternalError", "Message": "x"}}, "x"),
    ],
)
def test_a_service_that_does_not_answer_is_no_error_of_credentials(error: Exception, explain: Explain) -> None:
    assert isinstance(explain(error), UnreachableError)


def test_an_error_of_mjctl_is_returned_unchanged() -> None:
    error = NotFoundError("the state bucket does not exist")
    assert ACCOUNT.explain(error, "s3") is error


def test_every_class_of_the_advice_exists_in_botocore() -> None:
    from mjctl.clients.refusals import _ADVICE

    missing = [name for name in _ADVICE if not hasattr(botocore.exceptions, name)]
    assert missing in ([], ["LoginError"]), "renamed in this version of botocore"


def test_a_fault_of_mjctl_is_no_error_of_credentials() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert refusal(caught.value, "x") is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Error: No valid credential sources found", "sign in"),
        ("api error ExpiredToken: The security token included in the request is expired", "has expired"),
        ("failed to refresh cached credentials, the SSO session has expired or is invalid", "has expired"),
        ("failed to get shared config profile, nosuch", "AWS_PROFILE"),
        ("api error AccessDenied: User is not authorized to perform: sns:CreateTopic", "its permissions"),
        ("api error InvalidParameter: Invalid parameter: Topic Name", None),
        ("Error: Invalid value for variable", None),
    ],
)
def test_a_failure_of_terraform_by_its_credentials_is_recognised(text: str, advice: str | None) -> None:
    result = terraform_advice(text)
    assert (result is None) if advice is None else (advice in (result or ""))
