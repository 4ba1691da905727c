from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from mjctl.clients.boto import RegionClients
from mjctl.local.credentials import ensure_aws_key
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError, NotFoundError, PermissionDeniedError, UnreachableError
from mjctl.models.exit_codes import ExitCode

MakeContract = Callable[..., Contract]


async def test_the_error_of_an_api_that_is_down_has_its_address(make_contract: MakeContract) -> None:
    with (
        RegionClients(make_contract(), timeout_seconds=1, attempts=1) as clients,
        pytest.raises(UnreachableError) as down,
    ):
        await clients.call("sqs", "get_queue_attributes", QueueUrl="http://127.0.0.1:1/q")
    assert down.value.exit_code is ExitCode.UNREACHABLE
    assert down.value.where == "test, us-east-1, http://127.0.0.1:1"
    assert "mjctl health" in (down.value.hint or "")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", PermissionDeniedError),
        ("ExpiredToken", PermissionDeniedError),
        ("ResourceNotFoundException", NotFoundError),
        ("InternalError", UnreachableError),
    ],
)
def test_an_error_code_of_aws_becomes_the_matching_error(
    make_contract: MakeContract, code: str, kind: type[MjctlError]
) -> None:
    answer = ClientError({"Error": {"Code": code, "Message": "said"}}, "DescribeTable")
    explained = RegionClients(make_contract()).explain(answer, "dynamodb:describe_table")
    assert type(explained) is kind
    assert "us-east-1" in str(explained)


def test_an_emulated_aws_never_receives_real_credentials(
    make_contract: MakeContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    contract = make_contract()
    credentials = RegionClients(contract).client("sqs")._request_signer._credentials
    assert credentials.access_key == contract.aws.account_id
    assert "real" not in (credentials.secret_key, credentials.token)


def test_a_client_of_an_emulated_aws_uses_its_key_and_ignores_the_shell(
    make_contract: MakeContract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = ensure_aws_key(tmp_path / "aws.json")
    access = {"endpoint_url": "http://127.0.0.1:1", "account_id": "0" * 12, "secret": f"file:{tmp_path}/aws.json"}
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nosuch")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "https://elsewhere.example")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client = RegionClients(make_contract(aws=access)).client("sqs")
    assert client._request_signer._credentials.access_key == key.access_key_id
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
    assert client._endpoint.http_session._proxy_config.proxy_url_for("http://127.0.0.1:1") is None


def test_the_error_of_a_lost_key_of_the_emulated_aws_names_its_file(
    make_contract: MakeContract, tmp_path: Path
) -> None:
    access = {"endpoint_url": "http://127.0.0.1:1", "account_id": "0" * 12, "secret": f"file:{tmp_path}/aws.json"}
    with pytest.raises(NotFoundError) as failed:
        RegionClients(make_contract(aws=access)).client("sqs")
    assert failed.value.where == str(tmp_path / "aws.json")
    assert failed.value.hint == "`mjctl deploy --env test --region us-east-1` creates a new key"


def test_the_real_aws_receives_the_callers_credentials(
    make_contract: MakeContract, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mjctl.clients import boto as module

    monkeypatch.setattr(module, "_sessions", {})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACALLER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = RegionClients(make_contract(aws={"account_id": "000000000000"})).client("sqs")
    assert client._request_signer._credentials.access_key == "AKIACALLER"
    assert client.meta.endpoint_url.endswith("amazonaws.com")
