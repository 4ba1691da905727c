"""Tests that the stage records the decisions of IAM, and compares the decisions with the policies of the roles."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from mjctl.sandbox.call_log import read_calls, role_uses
from mjctl.sandbox.policies import Policy
from mjctl.sandbox.stage.layout import calls_file
from tests.integration.mjctl.sandbox.stage.unguarded import ACCOUNT, REGION, UnguardedStage, allow, document

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnguardedStage]:
    with UnguardedStage(tmp_path_factory.mktemp("calls"), names=["ministack"]) as running:
        yield running


def test_calls_of_a_role_are_recorded_once_and_compared_with_its_policy(stage: UnguardedStage) -> None:
    operator = stage.client("sqs", REGION)
    url = operator.create_queue(QueueName="events")["QueueUrl"]
    own = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events"
    statements = allow("sqs:SendMessage", "sqs:PurgeQueue", on=own), allow("s3:GetObject", on="arn:aws:s3:::bucket/*")
    role = stage.role("game", *statements)
    stage.client("s3", REGION).create_bucket(Bucket="bucket")
    sqs, s3 = role.client("sqs"), role.client("s3")
    for _ in range(3):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "a"}])
    with pytest.raises(ClientError):
        sqs.receive_message(QueueUrl=url)
    for key in ("first", "second"):
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket="bucket", Key=key)
    calls = [call for call in read_calls(calls_file(stage.folder)) if call.caller == role.arn]
    assert [(call.action, call.resource, call.allowed) for call in calls] == [
        ("sqs:SendMessage", own, True),
        ("sqs:ReceiveMessage", own, False),
        ("s3:GetObject", "arn:aws:s3:::bucket/*", True),
    ]
    assert "policy" in calls[1].reason
    (use,) = role_uses({role.arn: [Policy.parse(document(*statements))]}, calls)
    assert (use.allowed, use.unused) == (3, (("sqs:PurgeQueue", own),))
    assert [call.action for call in use.refused] == ["sqs:ReceiveMessage"]


def test_calls_of_the_root_user_are_left_out_and_the_file_is_private(stage: UnguardedStage) -> None:
    stage.role("reader", allow("sqs:ListQueues")).client("sqs").list_queues()
    stage.client("sqs", REGION).list_queues()
    file = calls_file(stage.folder)
    assert not [call for call in read_calls(file) if call.caller.endswith(":root")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_refused_use_of_a_key_is_recorded_with_the_key(stage: UnguardedStage) -> None:
    key = stage.client("kms", REGION).create_key()["KeyMetadata"]["Arn"]
    url = stage.client("sqs", REGION).create_queue(QueueName="encrypted", Attributes={"KmsMasterKeyId": key})[
        "QueueUrl"
    ]
    role = stage.role("no-key", allow("sqs:SendMessage"))
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        role.client("sqs").send_message(QueueUrl=url, MessageBody="a")
    refused = {
        (call.action, call.resource)
        for call in read_calls(calls_file(stage.folder))
        if call.caller == role.arn and not call.allowed
    }
    assert ("kms:GenerateDataKey", key) in refused
