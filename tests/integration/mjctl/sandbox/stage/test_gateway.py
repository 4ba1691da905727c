"""Tests that the stage answers over TLS at AWS's names, only to signed requests of the current user, as IAM allows."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.mjctl.sandbox.stage.by_tls import StageCaller, allow, running, trust

REGION = "eu-west-1"
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    with running(tmp_path_factory.mktemp("stage")) as caller:
        caller.plain("sqs", REGION).create_queue(QueueName="first")
        caller.address(f"sqs.{REGION}.amazonaws.com")
        yield caller


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def session_of_role(stage: StageCaller, name: str, policy: str) -> Mapping[str, Any]:
    iam = stage.plain("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))[
        "Role"
    ]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
    credentials: Mapping[str, Any] = stage.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")[
        "Credentials"
    ]
    return credentials


def test_a_role_may_do_what_its_policy_allows_and_nothing_else(stage: StageCaller) -> None:
    key = session_of_role(stage, "sender", allow("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:first"))
    sqs = stage.client("sqs", REGION, key)
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/first"
    assert sqs.send_message(QueueUrl=url, MessageBody="a")["MessageId"]
    with pytest.raises(ClientError) as refused:
        sqs.purge_queue(QueueUrl=url)
    assert "AccessDenied" in code_of(refused)


def test_a_role_may_send_mail_only_from_the_address_of_its_policy(stage: StageCaller) -> None:
    plain = stage.plain("sesv2", REGION)
    plain.create_email_identity(EmailIdentity="arena.example.com")
    plain.create_configuration_set(ConfigurationSetName="players")
    resources = [
        f"arn:aws:ses:{REGION}:{ACCOUNT}:{name}" for name in ("identity/arena.example.com", "configuration-set/players")
    ]
    condition = {"StringEquals": {"ses:FromAddress": "no-reply@arena.example.com"}}

    def mailer(name: str, *on: str) -> Any:
        statement = {"Effect": "Allow", "Action": "ses:SendEmail", "Resource": list(on), "Condition": condition}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        return stage.client("sesv2", REGION, session_of_role(stage, name, policy))

    def send(client: Any, sender: str) -> str:
        content = {"Subject": {"Data": "code"}, "Body": {"Text": {"Data": "1234"}}}
        try:
            answer = client.send_email(
                FromEmailAddress=sender,
                ConfigurationSetName="players",
                Destination={"ToAddresses": ["ada@example.com"]},
                Content={"Simple": content},
            )
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "sent" if answer["MessageId"] else ""

    both = mailer("mailer", *resources)
    assert send(both, "no-reply@arena.example.com") == "sent"
    assert "AccessDenied" in send(both, "admin@arena.example.com")
    assert "AccessDenied" in send(mailer("identity-only", resources[0]), "no-reply@arena.example.com")


def test_all_callers_get_the_queue_url_of_aws_and_can_use_it(stage: StageCaller) -> None:
    expected = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/first"
    for sqs in (stage.plain("sqs", REGION), stage.client("sqs", REGION)):
        assert sqs.get_queue_url(QueueName="first")["QueueUrl"] == expected
        assert expected in sqs.list_queues()["QueueUrls"]
        assert sqs.send_message(QueueUrl=expected, MessageBody="a")["MessageId"]


@pytest.mark.parametrize("region", [REGION, "us-east-1"])
def test_each_bucket_has_its_host_name(stage: StageCaller, region: str) -> None:
    bucket = f"files-{region}"
    placed = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    stage.plain("s3", region).create_bucket(Bucket=bucket, **placed)
    stage.address(f"{bucket}.s3.{region}.amazonaws.com")
    s3 = stage.client("s3", region)
    s3.put_object(Bucket=bucket, Key="a/ b+c", Body=b"content")
    assert s3.get_object(Bucket=bucket, Key="a/ b+c")["Body"].read() == b"content"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/ b+c"]


@pytest.mark.parametrize("by_tls", [True, False])
def test_a_wrong_signature_with_the_operators_key_is_refused(stage: StageCaller, by_tls: bool) -> None:
    own = stage.emulators.key
    wrong = {"AccessKeyId": own.access_key_id, "SecretAccessKey": "wrong"}
    sqs = stage.client("sqs", REGION, wrong)
    if not by_tls:
        sqs.meta.events.register_first(
            "before-sign.sqs",
            lambda request, **_: setattr(request, "url", stage.emulators.url("ministack") + "/"),
        )
    with pytest.raises(ClientError) as refused:
        sqs.list_queues()
    assert code_of(refused) in {"SignatureDoesNotMatch", "InvalidSignatureException"}


@pytest.mark.parametrize("identifier", ["test", ACCOUNT, "AKIAIOSFODNN7EXAMPLE"])
def test_well_known_keys_of_emulators_are_refused(stage: StageCaller, identifier: str) -> None:
    sqs = stage.client("sqs", REGION, {"AccessKeyId": identifier, "SecretAccessKey": "test"})
    with pytest.raises(ClientError) as refused:
        sqs.list_queues()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_session_key_needs_its_token_and_its_secret(stage: StageCaller) -> None:
    key = session_of_role(stage, "reader", allow("sqs:ListQueues", "*"))
    assert stage.client("sqs", REGION, key).list_queues()["QueueUrls"]
    for changed in ({"SessionToken": None}, {"SecretAccessKey": "wrong"}):
        with pytest.raises(ClientError):
            stage.client("sqs", REGION, {**key, **changed}).list_queues()


def test_only_public_operations_of_cognito_need_no_signature(stage: StageCaller) -> None:
    cognito = stage.plain("cognito-idp", REGION)
    pool = cognito.create_user_pool(PoolName="players")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="c")["UserPoolClient"]["ClientId"]
    public = stage.client("cognito-idp", REGION, unsigned=True)
    assert public.sign_up(ClientId=client, Username="ada", Password="Correct-horse-9")["UserSub"]
    with pytest.raises(ClientError):
        public.list_user_pools(MaxResults=1)
    with pytest.raises(ClientError):
        stage.client("sqs", REGION, unsigned=True).list_queues()
    host = f"cognito-idp.{REGION}.amazonaws.com"
    assert stage.https(host, f"/{pool}/.well-known/jwks.json").document["keys"]
    other = "cognito-idp.us-east-1.amazonaws.com"
    assert stage.https(other, f"/{pool}/.well-known/jwks.json").status == 403


@pytest.mark.parametrize("path", ["/_ministack/health", "/_localstack/health", "/health", "/Latest/meta-data/"])
def test_the_emulators_own_paths_are_not_served(stage: StageCaller, path: str) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/s3/aws4_request"}
    assert stage.https(f"s3.{REGION}.amazonaws.com", path, headers=signed).status == 403


def test_a_web_page_may_not_call_the_services(stage: StageCaller) -> None:
    answer = stage.https(
        f"cognito-idp.{REGION}.amazonaws.com",
        method="POST",
        headers={
            "Origin": "https://evil.example.com",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
        },
        body=b"{}",
    )
    assert answer.status == 403
    assert b"web page" in answer.body


def test_a_name_that_the_stage_does_not_serve_is_refused(stage: StageCaller) -> None:
    own = f"sqs.{REGION}.amazonaws.com"
    with pytest.raises(ssl.SSLError):
        stage.https("www.example.com", address=stage.address(own))
    assert stage.https("www.example.com", address=stage.address(own), server_name=own).status == 403


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_another_user_of_this_machine_is_refused(stage: StageCaller) -> None:
    name = f"cognito-idp.{REGION}.amazonaws.com"
    # The interpreter and its packages can be below a folder that other users cannot enter, so use the system's Python.
    program = (
        "import socket, ssl, sys\n"
        "context = ssl._create_unverified_context()\n"
        "plain = socket.create_connection((sys.argv[1], 443), 10)\n"
        "secure = context.wrap_socket(plain, server_hostname=sys.argv[2])\n"
        "head = f'GET /x HTTP/1.1\\r\\nHost: {sys.argv[2]}\\r\\nConnection: close\\r\\n\\r\\n'\n"
        "secure.sendall(head.encode())\n"
        "print(b''.join(iter(lambda: secure.recv(4096), b'')).decode())\n"
    )
    command = ["-I", "-c", program, stage.address(name), name]
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    own = subprocess.run([python, *command], capture_output=True, text=True, check=True, cwd="/")
    assert "another user" not in own.stdout
    foreign = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert "403" in foreign.stdout.splitlines()[0]
    assert "another user" in foreign.stdout


def test_secure_transport_is_true_by_tls_and_on_the_operators_port_but_false_on_port_80(stage: StageCaller) -> None:
    sqs = stage.plain("sqs", REGION)
    url = sqs.create_queue(QueueName="secure")["QueueUrl"]
    resource = f"arn:aws:sqs:{REGION}:{ACCOUNT}:secure"
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [deny]})})
    # The policy must not deny the operator's calls, so that Terraform can change and delete the queue.
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    key = session_of_role(stage, "clear", allow("sqs:*", resource))
    client = stage.client("sqs", REGION, key)
    assert client.send_message(QueueUrl=url, MessageBody="a")["MessageId"]

    def without_tls(request: Any, **_: Any) -> None:
        request.url = request.url.replace("https://", "http://")

    def claiming_tls(request: Any, **_: Any) -> None:
        request.headers["X-Forwarded-Proto"] = "https"

    client.meta.events.register_first("before-sign.sqs", without_tls)
    client.meta.events.register_first("before-send.sqs", claiming_tls)
    with pytest.raises(ClientError) as refused:
        client.send_message(QueueUrl=url, MessageBody="a")
    assert "AccessDenied" in code_of(refused)
