"""Tests that each correction that follows from AWS's recorded answers works and is still needed.

A probe returns True if the emulator behaves as AWS does. The probe must return False for ministack without corrections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mjctl.sandbox.emulators import Emulators
from tests.integration.mjctl.sandbox.probes import Probes, error_code
from tests.integration.mjctl.sandbox.released import corrections_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(60)]

REGION = "us-east-1"
probe = Probes[Callable[..., Any]]()


TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@probe("attached-policy-exists")
def _attached_policy(client: Callable[..., Any]) -> bool:
    iam = client("iam")
    iam.create_role(RoleName="attached", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="attached", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    wrong = "arn:aws:iam::aws:policy/ReadOnlyAcces"
    return error_code(iam.attach_role_policy, RoleName="attached", PolicyArn=wrong) == "NoSuchEntity"


@probe("bucket-policy-json")
def _bucket_policy(client: Callable[..., Any]) -> bool:
    s3 = client("s3")
    s3.create_bucket(Bucket="policy-probe")
    return error_code(s3.put_bucket_policy, Bucket="policy-probe", Policy="no policy") == "MalformedPolicy"


@probe("key-metadata")
def _key_metadata(client: Callable[..., Any]) -> bool:
    key = client("kms").create_key()["KeyMetadata"]
    return key.get("AWSAccountId") == key["Arn"].split(":")[4] and "SigningAlgorithms" not in key


@probe("key-rotation-status")
def _key_rotation(client: Callable[..., Any]) -> bool:
    kms = client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key)
    return status.get("KeyId") == key and "NextRotationDate" in status


@probe("plaintext-limit")
def _plaintext_limit(client: Callable[..., Any]) -> bool:
    kms = client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.encrypt(KeyId=key, Plaintext=b"a" * 4096)
    return error_code(kms.encrypt, KeyId=key, Plaintext=b"a" * 4097) == "ValidationException"


@probe("purge-in-progress")
def _purge(client: Callable[..., Any]) -> bool:
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName="purged")["QueueUrl"]
    sqs.purge_queue(QueueUrl=queue)
    return error_code(sqs.purge_queue, QueueUrl=queue) == "AWS.SimpleQueueService.PurgeQueueInProgress"


@probe("role-description")
def _role_description(client: Callable[..., Any]) -> bool:
    role = client("iam").create_role(RoleName="described", AssumeRolePolicyDocument=TRUST)["Role"]
    return "Description" not in role


@probe("rule-with-targets")
def _rule_with_targets(client: Callable[..., Any]) -> bool:
    events = client("events")
    events.put_rule(Name="probe", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="probe", Targets=[{"Id": "a", "Arn": "arn:aws:sqs:us-east-1:123456789012:a"}])
    return error_code(events.delete_rule, Name="probe") == "ValidationException"


@probe("secret-without-value")
def _secret_without_value(client: Callable[..., Any]) -> bool:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="empty")
    refused = error_code(secrets.get_secret_value, SecretId="empty") == "ResourceNotFoundException"
    secrets.put_secret_value(SecretId="empty", SecretString="a")
    return refused and secrets.get_secret_value(SecretId="empty")["SecretString"] == "a"


@probe("topic-error-codes")
def _topic_error_codes(client: Callable[..., Any]) -> bool:
    sns = client("sns")
    topic = sns.create_topic(Name="probe.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    return error_code(sns.publish, TopicArn=topic, Message="a") == "InvalidParameter"


@probe("trust-policy-json")
def _trust_policy(client: Callable[..., Any]) -> bool:
    iam = client("iam")
    code = error_code(iam.create_role, RoleName="malformed", AssumeRolePolicyDocument="{,}")
    return code == "MalformedPolicyDocument"


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def emulators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Emulators]]:
    with Emulators(tmp_path_factory.mktemp("emulators"), names=["ministack"], corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(probe))
def test_a_correction_is_needed_and_works(name: str, emulators: tuple[bool, Emulators]) -> None:
    corrected, running = emulators
    probe.check(name, lambda service: running.client(service, REGION), corrected=corrected)


def test_every_correction_has_a_probe_and_the_installed_release() -> None:
    assert corrections_of("mjctl.sandbox.ministack_strictness") == set(probe)
