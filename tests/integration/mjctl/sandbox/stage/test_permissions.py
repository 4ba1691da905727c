"""Tests that each correction of ministack's IAM works, and that ministack still needs the correction.

Each function in `PROBES` returns True if the stage behaves like AWS. For ministack without corrections, the function
must return False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gameserver.cluster.epochs import Epochs
from gameserver.runtime.aws import AwsClients
from tests.integration.mjctl.sandbox.released import corrections_of
from tests.integration.mjctl.sandbox.stage.unguarded import ACCOUNT, REGION, UnguardedStage, allow, document

pytestmark = pytest.mark.timeout(120)

Probe = Callable[[UnguardedStage], bool]
PROBES: dict[tuple[str, str], Probe] = {}
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


def probe(correction: str, rule: str) -> Callable[[Probe], Probe]:
    def register(function: Probe) -> Probe:
        PROBES[correction, rule] = function
        return function

    return register


def refused(call: Callable[[], Any]) -> str:
    """Return the error message of a call that IAM refuses, or an empty string if IAM allows the call."""
    try:
        call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if "AccessDenied" in code or code in ("AuthorizationError", "UnauthorizedOperation"):
            return f"{code}: {error.response['Error']['Message']}"
        raise
    return ""


def queue(stage: UnguardedStage, name: str, **attributes: str) -> tuple[str, str]:
    url = stage.client("sqs", REGION).create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def key(stage: UnguardedStage, *statements: dict[str, Any]) -> str:
    administrators = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": ROOT}
    created = stage.client("kms", REGION).create_key(Policy=document(administrators, *statements))
    return str(created["KeyMetadata"]["Arn"])


@probe("iam-decision", "policy variables")
def _variables(stage: UnguardedStage) -> bool:
    url, _ = queue(stage, "blue")
    other, _ = queue(stage, "red")
    tags = [{"Key": "team", "Value": "blue"}]
    own = "arn:aws:sqs:*:*:${aws:PrincipalTag/team}"
    sqs = stage.role("variables", allow("sqs:SendMessage", on=own), Tags=tags).client("sqs")
    return not refused(lambda: sqs.send_message(QueueUrl=url, MessageBody="a")) and bool(
        refused(lambda: sqs.send_message(QueueUrl=other, MessageBody="a"))
    )


@probe("iam-decision", "aws:PrincipalArn is the role")
def _principal_arn(stage: UnguardedStage) -> bool:
    url, _ = queue(stage, "principal-arn")
    condition = {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/principal-arn"}}
    sqs = stage.role("principal-arn", allow("sqs:SendMessage", Condition=condition)).client("sqs")
    return not refused(lambda: sqs.send_message(QueueUrl=url, MessageBody="a"))


@probe("iam-decision", "a wildcard stays in its field")
def _fields(stage: UnguardedStage) -> bool:
    url, _ = queue(stage, "fields")
    sqs = stage.role("fields", allow("sqs:SendMessage", on="arn:aws:sqs:*:fields")).client("sqs")
    return bool(refused(lambda: sqs.send_message(QueueUrl=url, MessageBody="a")))


@probe("iam-decision", "grants of keys")
def _grants(stage: UnguardedStage) -> bool:
    arn = key(stage)
    role = stage.role("grantee")
    grant = {"KeyId": arn, "GranteePrincipal": role.arn, "Operations": ["GenerateDataKey"]}
    stage.client("kms", REGION).create_grant(**grant)
    kms = role.client("kms")
    return not refused(lambda: kms.generate_data_key(KeyId=arn, KeySpec="AES_256")) and bool(
        refused(lambda: kms.encrypt(KeyId=arn, Plaintext=b"a"))
    )


@probe("iam-names", "batch calls")
def _batch(stage: UnguardedStage) -> bool:
    url, arn = queue(stage, "batch")
    topic = stage.client("sns", REGION).create_topic(Name="batch")["TopicArn"]
    role = stage.role("batch", allow("sqs:SendMessage", on=arn), allow("sns:Publish", on=topic))
    entries = [{"Id": "a", "MessageBody": "a"}]
    published = [{"Id": "a", "Message": "a"}]
    return not refused(lambda: role.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)) and not refused(
        lambda: role.client("sns").publish_batch(TopicArn=topic, PublishBatchRequestEntries=published)
    )


@probe("iam-names", "log streams")
def _logs(stage: UnguardedStage) -> bool:
    stage.client("logs", REGION).create_log_group(logGroupName="/game/a")
    own = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/game/a:*"
    logs = stage.role("logs", allow("logs:CreateLogStream", "logs:PutLogEvents", on=own)).client("logs")
    event = {"timestamp": 1_790_000_000_000, "message": "a"}
    return not refused(lambda: logs.create_log_stream(logGroupName="/game/a", logStreamName="s")) and not refused(
        lambda: logs.put_log_events(logGroupName="/game/a", logStreamName="s", logEvents=[event])
    )


@probe("iam-names", "tasks of a cluster")
def _tasks(stage: UnguardedStage) -> bool:
    stage.client("ecs", REGION).create_cluster(clusterName="names")
    own = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/names/*"
    ecs = stage.role("tasks", allow("ecs:StopTask", "ecs:DescribeTasks", on=own)).client("ecs")
    return not refused(lambda: ecs.describe_tasks(cluster="names", tasks=["0" * 32]))


@probe("iam-names", "event source mappings")
def _mapping(stage: UnguardedStage) -> bool:
    function = stage.role("mapping").client("lambda")
    missing = "00000000-0000-0000-0000-000000000000"
    try:
        return bool(refused(lambda: function.delete_event_source_mapping(UUID=missing)))
    except ClientError:
        return False


@probe("iam-names", "health checks")
def _health_check(stage: UnguardedStage) -> bool:
    config = {"Type": "TCP", "IPAddress": "192.0.2.1", "Port": 443}
    created = stage.client("route53", REGION).create_health_check(CallerReference="p", HealthCheckConfig=config)
    own = "arn:aws:route53:::healthcheck/*"
    route53 = stage.role("health-check", allow("route53:UpdateHealthCheck", on=own)).client("route53")
    check = created["HealthCheck"]["Id"]
    return not refused(lambda: route53.update_health_check(HealthCheckId=check, Disabled=True))


@probe("iam-names", "aliases of keys")
def _alias(stage: UnguardedStage) -> bool:
    arn = key(stage)
    stage.client("kms", REGION).create_alias(AliasName="alias/probe", TargetKeyId=arn)
    kms = stage.role("alias", allow("kms:Encrypt", on=arn)).client("kms")
    return not refused(lambda: kms.encrypt(KeyId="alias/probe", Plaintext=b"a"))


@probe("iam-names", "roles with a path")
def _path(stage: UnguardedStage) -> bool:
    stage.role("pathed", Path="/game/")
    own = f"arn:aws:iam::{ACCOUNT}:role/game/*"
    iam = stage.role("path-reader", allow("iam:GetRole", on=own)).client("iam")
    return not refused(lambda: iam.get_role(RoleName="pathed"))


@probe("iam-further-checks", "PassRole")
def _pass_role(stage: UnguardedStage) -> bool:
    task = stage.role("task").arn
    container = {"name": "a", "image": "a", "memory": 64}

    def register(name: str, *statements: dict[str, Any]) -> str:
        ecs = stage.role(name, allow("ecs:RegisterTaskDefinition"), *statements).client("ecs")
        return refused(
            lambda: ecs.register_task_definition(family="p", containerDefinitions=[container], taskRoleArn=task)
        )

    passed = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    other = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    return (
        "iam:PassRole" in register("no-pass")
        and "iam:PassRole" in register("other-pass", allow("iam:PassRole", on=task, Condition=other))
        and not register("pass", allow("iam:PassRole", on=task, Condition=passed))
    )


@probe("iam-further-checks", "key of a queue")
def _queue_key(stage: UnguardedStage) -> bool:
    arn = key(stage)
    url, own = queue(stage, "encrypted", KmsMasterKeyId=arn)
    send = allow("sqs:SendMessage", on=own)
    without = stage.role("no-key", send).client("sqs")
    with_key = stage.role("queue-key", send, allow("kms:GenerateDataKey", "kms:Decrypt", on=arn)).client("sqs")
    message = refused(lambda: without.send_message(QueueUrl=url, MessageBody="a"))
    return "kms:GenerateDataKey" in message and not refused(
        lambda: with_key.send_message(QueueUrl=url, MessageBody="a")
    )


@probe("iam-further-checks", "key of a secret, by the service only")
def _secret_key(stage: UnguardedStage) -> bool:
    arn = key(stage)
    secret = stage.client("secretsmanager", REGION).create_secret(Name="s", SecretString="a", KmsKeyId=arn)["ARN"]
    read = allow("secretsmanager:GetSecretValue", on=secret)
    via = {"StringLike": {"kms:ViaService": "secretsmanager.*.amazonaws.com"}}
    context = {"StringEquals": {"kms:EncryptionContext:SecretARN": secret}}
    without = stage.role("no-secret-key", read).client("secretsmanager")
    role = stage.role("secret-key", read, allow("kms:Decrypt", on=arn, Condition={**via, **context}))
    cipher = stage.client("kms", REGION).encrypt(KeyId=arn, Plaintext=b"a")["CiphertextBlob"]
    return (
        "kms:Decrypt" in refused(lambda: without.get_secret_value(SecretId=secret))
        and not refused(lambda: role.client("secretsmanager").get_secret_value(SecretId=secret))
        and bool(refused(lambda: role.client("kms").decrypt(CiphertextBlob=cipher)))
    )


@probe("iam-further-checks", "key of a table")
def _table_key(stage: UnguardedStage) -> bool:
    arn = key(stage)
    stage.client("dynamodb", REGION).create_table(
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": arn},
        TableName="encrypted",
    )
    dynamodb = stage.role("table-key", allow("dynamodb:PutItem")).client("dynamodb")
    return "kms:Decrypt" in refused(lambda: dynamodb.put_item(TableName="encrypted", Item={"k": {"S": "a"}}))


@pytest.fixture(scope="module", params=[True, False], ids=["corrected", "as released"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, UnguardedStage]]:
    folder = tmp_path_factory.mktemp("stage")
    with UnguardedStage(folder, names=["ministack"], corrected=request.param) as running:
        yield request.param, running


@pytest.mark.parametrize("name", sorted(PROBES), ids=": ".join)
def test_a_correction_is_needed_and_works(name: tuple[str, str], stage: tuple[bool, UnguardedStage]) -> None:
    corrected, running = stage
    behaves = PROBES[name](running)
    if corrected:
        assert behaves, f"the correction {name[0]} does not work"
    else:
        assert not behaves, f"ministack now behaves as AWS does: remove {name} of the corrections"


def test_every_correction_has_a_probe() -> None:
    assert corrections_of("mjctl.sandbox.stage.permissions") == {correction for correction, _ in PROBES}


@pytest.mark.parametrize("stage", [True], indirect=True, ids=["corrected"])
async def test_a_game_server_counts_epochs_and_changes_nothing_else(
    stage: tuple[bool, UnguardedStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call the real `Epochs` with the conditions of the statement `MatchEpochs` of terraform/stacks/region/game.tf."""
    _, running = stage
    table = {"TableName": "matches"}
    tables = running.client("dynamodb", REGION)
    tables.create_table(
        AttributeDefinitions=[{"AttributeName": "match_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "match_id", "KeyType": "HASH"}],
        **table,
    )
    name = {"match_id": {"S": "m"}}
    tables.put_item(Item={**name, "state": {"S": "running"}}, **table)
    conditions = {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["match_id", "owner_epoch"]},
        "StringEquals": {"dynamodb:ReturnValues": "UPDATED_NEW"},
    }
    role = running.role("game", allow("dynamodb:UpdateItem", Condition=conditions))
    for variable, value in role.environment().items():
        monkeypatch.setenv(variable, value)
    epochs = Epochs(AwsClients(REGION, running.url("ministack"), threads=1, attempts=1), "matches")
    assert [await epochs.next("m", above) for above in (0, 0, 6)] == [1, 2, 7]
    assert await epochs.confirm("m", 7)
    await epochs.give_back("m", 7)
    assert await epochs.confirm("m", 6)
    epochs.close()
    dynamodb = role.client("dynamodb")
    call = {"Key": name, "ReturnValues": "UPDATED_NEW", **table}
    ended = {"UpdateExpression": "SET #s = :e", "ExpressionAttributeNames": {"#s": "state"}}
    counted = {"UpdateExpression": "SET owner_epoch = :e"}
    epoch = {"ExpressionAttributeValues": {":e": {"N": "9"}}}
    assert refused(lambda: dynamodb.update_item(**call, **ended, **epoch))
    assert refused(lambda: dynamodb.update_item(**{**call, "ReturnValues": "ALL_NEW"}, **counted, **epoch))
    assert refused(lambda: dynamodb.get_item(Key=name, **table))
    assert not refused(lambda: dynamodb.update_item(**call, **counted, **epoch))
    assert tables.get_item(Key=name, **table)["Item"]["state"] == {"S": "running"}


class TestBoundariesAndSessions:
    """Tests rules that ministack implements without corrections. The corrections must not break these rules."""

    def test_a_boundary_limits_a_role(self, stage: tuple[bool, UnguardedStage]) -> None:
        _, running = stage
        url, _ = queue(running, "bounded")
        content = document(allow("sqs:ReceiveMessage"))
        boundary = running.client("iam", REGION).create_policy(PolicyName="bound", PolicyDocument=content)
        role = running.role("bounded", allow("sqs:*"), PermissionsBoundary=boundary["Policy"]["Arn"])
        assert refused(lambda: role.client("sqs").send_message(QueueUrl=url, MessageBody="a"))
        assert not refused(lambda: role.client("sqs").receive_message(QueueUrl=url))

    def test_a_session_policy_limits_a_session(self, stage: tuple[bool, UnguardedStage]) -> None:
        _, running = stage
        url, _ = queue(running, "limited")
        role = running.role("limited", allow("sqs:*"))
        limited = role.limited(allow("sqs:ReceiveMessage")).client("sqs")
        assert refused(lambda: limited.send_message(QueueUrl=url, MessageBody="a"))
        assert not refused(lambda: role.client("sqs").send_message(QueueUrl=url, MessageBody="a"))

    def test_a_queue_policy_gives_a_role_access_and_a_deny_takes_it(self, stage: tuple[bool, UnguardedStage]) -> None:
        _, running = stage
        url, own = queue(running, "named")
        role = running.role("named")
        given = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": own, "Principal": {"AWS": role.arn}}
        operator = running.client("sqs", REGION)
        operator.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(given)})
        assert not refused(lambda: role.client("sqs").send_message(QueueUrl=url, MessageBody="a"))
        taken = {**given, "Effect": "Deny"}
        operator.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(taken)})
        assert "explicit deny" in refused(lambda: role.client("sqs").send_message(QueueUrl=url, MessageBody="a"))

    def test_a_trust_policy_decides_who_assumes_a_role(self, stage: tuple[bool, UnguardedStage]) -> None:
        _, running = stage
        iam = running.client("iam", REGION)
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        iam.create_role(RoleName="of-lambda", AssumeRolePolicyDocument=document(trust))
        sts = running.role("assumer", allow("sts:AssumeRole")).client("sts")
        arn = f"arn:aws:iam::{ACCOUNT}:role/of-lambda"
        assert refused(lambda: sts.assume_role(RoleArn=arn, RoleSessionName="test"))

    def test_admin_operations_of_cognito_need_a_permission(self, stage: tuple[bool, UnguardedStage]) -> None:
        _, running = stage
        pool = running.client("cognito-idp", REGION).create_user_pool(PoolName="admin")["UserPool"]["Id"]
        cognito = running.role("no-admin").client("cognito-idp")
        assert refused(lambda: cognito.admin_get_user(UserPoolId=pool, Username="a"))
        assert refused(lambda: cognito.admin_initiate_auth(UserPoolId=pool, ClientId="a", AuthFlow="ADMIN_NO_SRP_AUTH"))
