"""Tests that policies decide whether AWS services may call each other, and that ministack still needs the corrections.

Each probe returns True if the stage behaves like AWS. For ministack without corrections, the probe
must return False.
"""

from __future__ import annotations

import http.client
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mjctl.sandbox.call_log import read_calls
from tests.integration.mjctl.sandbox.probes import Probes
from tests.integration.mjctl.sandbox.released import corrections_of
from tests.integration.mjctl.sandbox.stage.unguarded import ACCOUNT, REGION, UnguardedStage, allow, document

pytestmark = pytest.mark.timeout(120)

probe = Probes[UnguardedStage]()
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
ADMINISTRATORS = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": ROOT}
PROGRAM = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'done'}\n"


def function(
    stage: UnguardedStage,
    name: str,
    *statements: dict[str, Any],
    program: str = PROGRAM,
    service: str = "lambda.amazonaws.com",
) -> str:
    """Create a Lambda function whose role has the statements and trusts a service. Returns: the ARN of the function."""
    iam = stage.client("iam", REGION)
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    role = iam.create_role(RoleName=f"{name}-fn", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=f"{name}-fn", PolicyName="own", PolicyDocument=document(*statements))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("index.py", program)
    created = stage.client("lambda", REGION).create_function(
        Code={"ZipFile": archive.getvalue()},
        FunctionName=name,
        Handler="index.handler",
        Role=role,
        Runtime="python3.12",
    )
    return str(created["FunctionArn"])


def key(stage: UnguardedStage, *statements: dict[str, Any]) -> str:
    created = stage.client("kms", REGION).create_key(Policy=document(ADMINISTRATORS, *statements))
    return str(created["KeyMetadata"]["Arn"])


def fails(call: Callable[[], Any]) -> str:
    """Return the error message of a call that fails, or an empty string if the call succeeds."""
    try:
        call()
    except ClientError as error:
        return str(error)
    return ""


@probe("lambda-permission-gateway")
def _gateway(stage: UnguardedStage) -> bool:
    arn = function(stage, "gateway")
    gateway = stage.client("apigatewayv2", REGION)
    api = gateway.create_api(Name="a", ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)

    def status() -> int:
        address = stage.url("ministack").partition("//")[2]
        with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
            connection.request("GET", f"/_aws/execute-api/{api}/$default/x")
            return connection.getresponse().status

    before = status()
    permission = {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com", "StatementId": "Api"}
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/*/*"
    stage.client("lambda", REGION).add_permission(FunctionName="gateway", SourceArn=source, **permission)
    return before == 500 and status() == 200


@probe("lambda-permission-topic")
def _topic(stage: UnguardedStage) -> bool:
    url = stage.client("sqs", REGION).create_queue(QueueName="invoked")["QueueUrl"]
    program = (
        "import boto3\n"
        "def handler(event, context):\n"
        f"    boto3.client('sqs', region_name='{REGION}', endpoint_url='{stage.url('ministack')}')"
        f".send_message(QueueUrl='{url}', MessageBody=event['Records'][0]['Sns']['Message'])\n"
    )
    arn = function(stage, "topic", allow("sqs:SendMessage"), program=program)
    sns = stage.client("sns", REGION)
    topic = sns.create_topic(Name="invokes")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="first")
    permission = {"Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com", "StatementId": "Topic"}
    time.sleep(1)
    stage.client("lambda", REGION).add_permission(FunctionName="topic", SourceArn=topic, **permission)
    sns.publish(TopicArn=topic, Message="second")
    return received(stage, url, 1) == ["second"]


def received(stage: UnguardedStage, url: str, count: int) -> list[str]:
    sqs, messages, deadline = stage.client("sqs", REGION), [], time.monotonic() + 10
    while len(messages) < count and time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages += [message["Body"] for message in answer.get("Messages", [])]
    return sorted(messages)


@probe("sns-encrypted-queue")
def _encrypted_queue(stage: UnguardedStage) -> bool:
    sns, sqs = stage.client("sns", REGION), stage.client("sqs", REGION)
    topic = sns.create_topic(Name="encrypted")["TopicArn"]
    service = {"Service": "sns.amazonaws.com"}
    use = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*", "Principal": service}
    urls = []
    for name, arn in {"no-key": key(stage), "with-key": key(stage, use)}.items():
        own = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": own, "Principal": service}
        attributes = {"KmsMasterKeyId": arn, "Policy": document(send)}
        urls.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        raw = {"RawMessageDelivery": "true"}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=own, Attributes=raw)
    sns.publish(TopicArn=topic, Message="a")
    attributes = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls]
    return [a["ApproximateNumberOfMessages"] for a in attributes] == ["0", "1"]


@probe("lambda-mapping-role")
def _mapping(stage: UnguardedStage) -> bool:
    sqs, functions = stage.client("sqs", REGION), stage.client("lambda", REGION)
    url = sqs.create_queue(QueueName="mapped")["QueueUrl"]
    own = f"arn:aws:sqs:{REGION}:{ACCOUNT}:mapped"
    actions = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    function(stage, "no-queue", allow("sqs:ReceiveMessage", on=own))
    function(stage, "mapped", allow(*actions, on=own))
    message = fails(lambda: functions.create_event_source_mapping(EventSourceArn=own, FunctionName="no-queue"))
    mapping = functions.create_event_source_mapping(EventSourceArn=own, FunctionName="mapped")["UUID"]
    sqs.send_message(QueueUrl=url, MessageBody="a")
    emptied = _is_emptied(sqs, url)
    stage.client("iam", REGION).delete_role_policy(RoleName="mapped-fn", PolicyName="own")
    sqs.send_message(QueueUrl=url, MessageBody="b")
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    return "DeleteMessage" in message and emptied and not _is_emptied(sqs, url, 2)


def _is_emptied(sqs: Any, url: str, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    while time.monotonic() < deadline:
        if set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}:
            return True
        time.sleep(0.2)
    return False


@probe("lambda-role-trust")
def _trust(stage: UnguardedStage) -> bool:
    return "cannot be assumed" in fails(lambda: function(stage, "untrusted", service="ecs-tasks.amazonaws.com"))


@probe("logs-key-policy")
def _log_key(stage: UnguardedStage) -> bool:
    service = {"Service": f"logs.{REGION}.amazonaws.com"}
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"
    condition = {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}}
    use = {"Effect": "Allow", "Action": ["kms:Decrypt*", "kms:GenerateDataKey*"], "Resource": "*"}
    logs = stage.client("logs", REGION)
    with_key = key(stage, {**use, "Principal": service, "Condition": condition})
    message = fails(lambda: logs.create_log_group(logGroupName="/no-key", kmsKeyId=key(stage)))
    return "not allowed" in message and not fails(lambda: logs.create_log_group(logGroupName="/key", kmsKeyId=with_key))


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, UnguardedStage]]:
    folder = tmp_path_factory.mktemp("stage")
    with UnguardedStage(folder, names=["ministack"], corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, stage: tuple[bool, UnguardedStage]) -> None:
    corrected, running = stage
    probe.check(name, running, corrected=corrected)


def test_the_calls_of_services_are_recorded(stage: tuple[bool, UnguardedStage]) -> None:
    corrected, running = stage
    calls = {(call.caller, call.action, call.allowed) for call in read_calls(running.folder / "calls.jsonl")}
    expected = {
        ("sns.amazonaws.com", "kms:GenerateDataKey", False),
        ("sns.amazonaws.com", "kms:GenerateDataKey", True),
        (f"arn:aws:iam::{ACCOUNT}:role/mapped-fn", "sqs:ReceiveMessage", True),
    }
    assert expected <= calls if corrected else not expected & calls


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.stage.service_calls") == set(probe)
