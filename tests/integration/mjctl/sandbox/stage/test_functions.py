"""Tests that Lambda functions run with their role's rights, without ministack's address, and within Lambda's limits."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.mjctl.sandbox.stage.by_tls import StageCaller, allow, running, trust

REGION = "eu-west-1"
ACCOUNT = "123456789012"
CODE = """
import os, time
import boto3

def handler(event, context):
    if "environment" in event:
        return dict(os.environ)
    if "seconds" in event:
        time.sleep(event["seconds"])
        return "slept"
    sqs = boto3.client("sqs")
    queue = event.get("queue", "results")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    body = event["Records"][0]["body"] if "Records" in event else "from the function"
    sqs.send_message(QueueUrl=url, MessageBody=body)
    return {"url": url, "caller": boto3.client("sts").get_caller_identity()["Arn"]}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StageCaller]:
    with running(tmp_path_factory.mktemp("stage")) as caller:
        for name in ("results", "others", "events"):
            caller.plain("sqs", REGION).create_queue(QueueName=name)
        caller.address(f"sts.{REGION}.amazonaws.com")
        yield caller


@pytest.fixture(scope="module")
def function(stage: StageCaller) -> str:
    iam = stage.plain("iam")
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"}))
    iam.put_role_policy(
        RoleName="worker", PolicyName="p", PolicyDocument=allow("sqs:*", f"arn:aws:sqs:{REGION}:{ACCOUNT}:results")
    )
    iam.put_role_policy(
        RoleName="worker", PolicyName="e", PolicyDocument=allow("sqs:*", f"arn:aws:sqs:{REGION}:{ACCOUNT}:events")
    )
    create(stage, "worker", role["Role"]["Arn"])
    return "worker"


def create(stage: StageCaller, name: str, role: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("code.py", CODE)
    stage.plain("lambda", REGION).create_function(
        FunctionName=name,
        Role=role,
        Runtime="python3.12",
        Handler="code.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
        Environment={"Variables": {"COLOUR": "red"}},
    )


def invoke(stage: StageCaller, name: str, event: dict[str, Any]) -> Any:
    answer = stage.plain("lambda", REGION).invoke(FunctionName=name, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def test_a_function_calls_aws_by_name_with_its_role(stage: StageCaller, function: str) -> None:
    answer = invoke(stage, function, {})
    assert answer["url"] == f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/results"
    assert answer["caller"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/worker"


def test_a_function_may_not_do_what_its_role_does_not_allow(stage: StageCaller, function: str) -> None:
    answer = invoke(stage, function, {"queue": "others"})
    assert "AccessDenied" in answer["errorMessage"]


def test_a_function_gets_no_variable_of_the_emulator(stage: StageCaller, function: str) -> None:
    environment = invoke(stage, function, {"environment": True})
    assert environment["COLOUR"] == "red"
    assert environment["AWS_REGION"] == REGION
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert environment["AWS_CA_BUNDLE"] == str(stage.bundle)
    assert "AWS_ENDPOINT_URL" not in environment
    assert not [name for name in environment if name.startswith(("MINISTACK", "AUTH", "GATEWAY"))]
    own = stage.emulators.key
    assert own.secret_access_key not in environment.values()


def test_a_role_that_lambda_may_not_assume_is_refused(stage: StageCaller) -> None:
    role = stage.plain("iam").create_role(
        RoleName="tasks-only", AssumeRolePolicyDocument=trust({"Service": "ecs-tasks.amazonaws.com"})
    )
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        create(stage, "refused", role["Role"]["Arn"])


def test_reserved_concurrency_is_counted(stage: StageCaller, function: str) -> None:
    client = stage.plain("lambda", REGION)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as throttled:
        client.invoke(FunctionName=function, Payload=b"{}")
    assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=2)
    assert invoke(stage, function, {"seconds": 0}) == "slept"


def test_an_account_keeps_100_executions_without_reservation(stage: StageCaller, function: str) -> None:
    client = stage.plain("lambda", REGION)
    assert client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 1000
    with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
        client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=901)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=900)


def test_a_queue_still_starts_a_function(stage: StageCaller, function: str) -> None:
    sqs = stage.plain("sqs", REGION)
    stage.plain("lambda", REGION).create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:events", FunctionName=function
    )
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="events")["QueueUrl"], MessageBody="by event")
    results = sqs.get_queue_url(QueueName="results")["QueueUrl"]
    received: list[str] = []
    deadline = time.monotonic() + 20
    while "by event" not in received and time.monotonic() < deadline:
        messages = sqs.receive_message(QueueUrl=results, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        received += [message["Body"] for message in messages.get("Messages", [])]
    assert "by event" in received
