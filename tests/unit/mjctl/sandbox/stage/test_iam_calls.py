"""Tests that IAM's actions and resources have the names in AWS's Service Authorization Reference."""

from __future__ import annotations

from typing import Any

import pytest

from mjctl.sandbox.stage.iam_calls import (
    SignedCall,
    condition_keys,
    further_checks,
    iam_action,
    iam_resource,
    parameters_of,
)

ACCOUNT, REGION = "123456789012", "us-east-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/a"


def call(path: str = "/", **parameters: Any) -> SignedCall:
    return SignedCall("any", path, parameters, REGION, ACCOUNT)


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("sns:PublishBatch", "sns:Publish"),
        ("sqs:DeleteMessageBatch", "sqs:DeleteMessage"),
        ("lambda:InvokeAsync", "lambda:InvokeFunction"),
        ("cloudfront:GetDistribution2020_05_31", "cloudfront:GetDistribution"),
        ("cloudfront:CreateDistributionWithTags2020_05_31", "cloudfront:CreateDistribution"),
        ("sqs:SendMessage", "sqs:SendMessage"),
    ],
)
def test_an_operation_has_the_action_of_iam(operation: str, action: str) -> None:
    assert iam_action(operation) == action


def own(service: str, resource: str, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


RESOURCES = [
    ("ecs:StopTask", call(cluster="game", task="1"), own("ecs", "task/game/1")),
    ("ecs:DescribeTasks", call(cluster=own("ecs", "cluster/game"), tasks=["1", "2"]), own("ecs", "task/game/1")),
    ("ecs:UpdateService", call(cluster="game", service="s"), own("ecs", "service/game/s")),
    ("ecs:RegisterTaskDefinition", call(family="f"), own("ecs", "task-definition/f:*")),
    ("ecs:DescribeTaskDefinition", call(taskDefinition="f:1"), "*"),
    ("elasticache:DescribeUsers", call(UserId="u"), own("elasticache", "user:u")),
    ("rds:FailoverGlobalCluster", call(GlobalClusterIdentifier="g"), own("rds", "global-cluster:g", "")),
    ("logs:PutLogEvents", call(logGroupName="/a", logStreamName="s"), own("logs", "log-group:/a:log-stream:s")),
    ("logs:CreateLogStream", call(logGroupName="/a", logStreamName="s"), own("logs", "log-group:/a:*")),
    ("logs:TagResource", call(resourceArn="arn"), "known"),
    ("iam:CreateRole", call(RoleName="r", Path="/p/"), own("iam", "role/p/r", "")),
    ("iam:CreatePolicy", call(PolicyName="p"), own("iam", "policy/p", "")),
    ("iam:CreateOpenIDConnectProvider", call(Url="https://a.example/"), own("iam", "oidc-provider/a.example", "")),
    ("route53:UpdateHealthCheck", call("/2013-04-01/healthcheck/1"), "arn:aws:route53:::healthcheck/1"),
    (
        "backup:ListRecoveryPointsByBackupVault",
        call("/backup-vaults/v/recovery-points/"),
        own("backup", "backup-vault:v"),
    ),
    ("sns:Unsubscribe", call(SubscriptionArn=own("sns", "t:1")), own("sns", "t")),
    ("dynamodb:DescribeBackup", call(BackupArn="arn"), "arn"),
    ("kms:Encrypt", call(KeyId="alias/a"), KEY),
    ("kms:CreateKey", call(), "*"),
    ("ses:SendEmail", call(FromEmailAddress="Arena <no-reply@a.example>"), own("ses", "identity/a.example")),
    ("ec2:DescribeSubnets", call(), "*"),
    ("sqs:SendMessage", call(), "known"),
]


@pytest.mark.parametrize(("action", "signed", "resource"), RESOURCES, ids=[case[0] for case in RESOURCES])
def test_a_call_has_the_resource_of_iam(action: str, signed: SignedCall, resource: str) -> None:
    assert iam_resource(action, signed, "known", lambda reference: {"alias/a": KEY}[reference]) == resource


def test_parameters_are_read_from_json_and_from_forms() -> None:
    assert parameters_of(b'{"a": 1}', {"b": "2"}) == {"a": 1, "b": "2"}
    assert parameters_of(b"a=1", {"a": ["1"]}) == {"a": ["1"]}
    assert parameters_of(b"{broken", {}) == {}


def test_a_call_that_passes_a_role_needs_the_permission() -> None:
    signed = call(taskRoleArn="arn:task", executionRoleArn="arn:execution")
    checks = list(further_checks("ecs:RegisterTaskDefinition", "*", signed, lambda _: ""))
    passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    assert checks == [("iam:PassRole", "arn:task", passed), ("iam:PassRole", "arn:execution", passed)]
    nested = call(BackupSelection={"IamRoleArn": "arn:backup"})
    (check,) = further_checks("backup:CreateBackupSelection", "*", nested, lambda _: "")
    assert check.resource == "arn:backup"


def test_a_new_table_with_tags_needs_the_permission_to_tag_it() -> None:
    table = own("dynamodb", "table/a")
    tagged = call(TableName="a", Tags=[{"Key": "k", "Value": "v"}])
    assert list(further_checks("dynamodb:CreateTable", table, tagged, lambda _: "")) == [
        ("dynamodb:TagResource", table, {})
    ]
    assert not list(further_checks("dynamodb:CreateTable", table, call(TableName="a"), lambda _: ""))


def test_a_call_on_an_encrypted_resource_needs_its_key() -> None:
    queue = own("sqs", "q")
    checks = list(further_checks("sqs:SendMessage", queue, call(), lambda _: KEY))
    keys = {
        "kms:ViaService": f"sqs.{REGION}.amazonaws.com",
        "kms:CallerAccount": ACCOUNT,
        "kms:EncryptionContext:aws:sqs:arn": queue,
    }
    assert checks == [("kms:GenerateDataKey", KEY, keys), ("kms:Decrypt", KEY, keys)]
    assert not list(further_checks("sqs:SendMessage", queue, call(), lambda _: ""))
    assert not list(further_checks("sqs:ListQueues", "*", call(), lambda _: KEY))


def test_a_mail_needs_the_permission_for_its_configuration_set() -> None:
    mail = call(
        FromEmailAddress="Arena <no-reply@a.example>",
        ConfigurationSetName="players",
        Destination={"ToAddresses": ["ada@example.com"]},
    )
    keys = {"ses:FromAddress": "no-reply@a.example", "ses:Recipients": ["ada@example.com"]}
    assert condition_keys("ses:SendEmail", mail) == keys
    (check,) = further_checks("ses:SendEmail", own("ses", "identity/a.example"), mail, lambda _: "")
    assert check == ("ses:SendEmail", own("ses", "configuration-set/players"), keys)
    assert not list(further_checks("ses:SendEmail", check.resource, mail, lambda _: ""))


def test_keys_and_clusters_are_condition_keys() -> None:
    assert condition_keys("ecs:ListTasks", call(cluster="game")) == {"ecs:cluster": own("ecs", "cluster/game")}
    keys = condition_keys("kms:Encrypt", call(KeyId="alias/a", EncryptionContext={"k": "v"}))
    assert keys["kms:EncryptionContext:k"] == "v"
    assert keys["kms:RequestAlias"] == "alias/a"


def test_the_attributes_of_an_item_are_a_condition_key() -> None:
    update = {
        "TableName": "t",
        "Key": {"match_id": {"S": "m"}},
        "UpdateExpression": "SET owner_epoch = if_not_exists(owner_epoch, :above) + :one",
        "ConditionExpression": "attribute_exists(match_id) AND owner_epoch >= :above",
        "ReturnValues": "UPDATED_NEW",
    }
    assert condition_keys("dynamodb:UpdateItem", call(**update)) == {
        "dynamodb:Attributes": ["match_id", "owner_epoch"],
        "dynamodb:ReturnValues": "UPDATED_NEW",
    }
    renamed = {**update, "UpdateExpression": "SET #s = :v REMOVE other", "ExpressionAttributeNames": {"#s": "state"}}
    assert condition_keys("dynamodb:UpdateItem", call(**renamed))["dynamodb:Attributes"] == [
        "match_id",
        "other",
        "owner_epoch",
        "state",
    ]
    assert condition_keys("dynamodb:DescribeTable", call(TableName="t")) == {}
