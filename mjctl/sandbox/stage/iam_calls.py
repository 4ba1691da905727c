"""Returns the actions, resources and condition keys that AWS checks for a call, where ministack checks others.

AWS lists its actions, resources and condition keys at https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import Any, NamedTuple

# Maps an operation of the API to its action in IAM, if the two have different names.
_ACTIONS = {
    "kms:ReEncrypt": "kms:ReEncryptFrom",
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:InvokeAsync": "lambda:InvokeFunction",
    "lambda:InvokeWithResponseStream": "lambda:InvokeFunction",
    "sns:PublishBatch": "sns:Publish",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "cloudfront:CreateDistributionWithTags": "cloudfront:CreateDistribution",
}
# botocore's names of CloudFront's operations end with the version of the API, e.g. `GetDistribution2020_05_31`.
_VERSION = re.compile(r"\d{4}_\d{2}_\d{2}$")

# Matches actions without a resource in IAM. Only a statement with the resource `*` allows an action without a resource.
_WITHOUT_RESOURCE = re.compile(
    r"ec2:Describe.*|elasticloadbalancing:Describe.*|ecs:(DeregisterTaskDefinition|DescribeTaskDefinition|List(Clusters"
    r"|Services|TaskDefinitions|TaskDefinitionFamilies))|kms:(CreateKey|ListKeys|ListAliases|GenerateRandom)"
)

# For each action that passes a role to a service: the parameters with the role, and the service:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
_PASSED_ROLES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "backup:CreateBackupSelection": (("BackupSelection.IamRoleArn",), "backup.amazonaws.com"),
    "backup:StartBackupJob": (("IamRoleArn",), "backup.amazonaws.com"),
    "backup:StartRestoreJob": (("IamRoleArn",), "backup.amazonaws.com"),
    "cognito-idp:CreateUserPool": (("SmsConfiguration.SnsCallerArn",), "cognito-idp.amazonaws.com"),
    "cognito-idp:UpdateUserPool": (("SmsConfiguration.SnsCallerArn",), "cognito-idp.amazonaws.com"),
    "ec2:CreateFlowLogs": (("DeliverLogsPermissionArn",), "vpc-flow-logs.amazonaws.com"),
    "ecs:RegisterTaskDefinition": (("taskRoleArn", "executionRoleArn"), "ecs-tasks.amazonaws.com"),
    "ecs:RunTask": (("overrides.taskRoleArn", "overrides.executionRoleArn"), "ecs-tasks.amazonaws.com"),
    "lambda:CreateFunction": (("Role",), "lambda.amazonaws.com"),
    "lambda:UpdateFunctionConfiguration": (("Role",), "lambda.amazonaws.com"),
    "rds:CreateDBInstance": (("MonitoringRoleArn",), "monitoring.rds.amazonaws.com"),
    "rds:ModifyDBInstance": (("MonitoringRoleArn",), "monitoring.rds.amazonaws.com"),
    "scheduler:CreateSchedule": (("Target.RoleArn",), "scheduler.amazonaws.com"),
    "scheduler:UpdateSchedule": (("Target.RoleArn",), "scheduler.amazonaws.com"),
}

# For each action: the actions of KMS that the caller must also be allowed if a customer's key encrypts the resource:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
# https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
_WRITE = ("kms:GenerateDataKey", "kms:Decrypt")
_READ = ("kms:Decrypt",)
_KEY_USES: Mapping[str, tuple[str, ...]] = {
    "dynamodb:BatchGetItem": _READ,
    "dynamodb:BatchWriteItem": _READ,
    "dynamodb:ConditionCheckItem": _READ,
    "dynamodb:DeleteItem": _READ,
    "dynamodb:GetItem": _READ,
    "dynamodb:PutItem": _READ,
    "dynamodb:Query": _READ,
    "dynamodb:Scan": _READ,
    "dynamodb:UpdateItem": _READ,
    "s3:GetObject": _READ,
    "s3:PutObject": ("kms:GenerateDataKey",),
    "secretsmanager:GetSecretValue": _READ,
    "secretsmanager:PutSecretValue": _WRITE,
    "secretsmanager:UpdateSecret": _WRITE,
    "sns:Publish": _WRITE,
    "sqs:ReceiveMessage": _READ,
    "sqs:SendMessage": _WRITE,
}


@dataclass(frozen=True)
class SignedCall:
    """Describes a signed call of AWS as the SDK sent the call.

    Attributes:
        service: ministack's name of the service.
        path: The path of the URL.
        parameters: The parameters in the JSON body, or in the form of the Query protocol.
        region: The region of the call.
        account: The account of the resource.
    """

    service: str
    path: str = "/"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: str = ""
    account: str = ""

    def text(self, *names: str) -> str:
        """Return the first text among the parameters `names`. A dot in a name leads to a nested parameter."""
        for name in names:
            value: Any = self.parameters
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if isinstance(value, list):
                value = value[0] if value else ""
            if isinstance(value, str) and value:
                return value
        return ""

    def after(self, folder: str) -> str:
        """Return the part of the URL's path that follows the part `folder`, or an empty text if `folder` is missing."""
        parts = self.path.strip("/").split("/")
        return parts[parts.index(folder) + 1] if folder in parts[:-1] else ""

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """Return the ARN of a resource in the call's region and account."""
        return f"arn:aws:{service}:{self.region if region is None else region}:{self.account}:{resource}"


class FurtherCheck(NamedTuple):
    """Names an action that a call needs beside its own action, e.g. the use of a KMS key."""

    action: str
    resource: str
    keys: Mapping[str, Any]


def parameters_of(body: bytes, form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, from its JSON body or from the form of the Query protocol."""
    try:
        content = json.loads(body) if body[:1] == b"{" else {}
    except ValueError:
        content = {}
    return {**form, **content} if isinstance(content, dict) else dict(form)


def iam_action(operation: str) -> str:
    """Return the action in IAM of an operation, which has the form `<prefix>:<operation of the API>`."""
    plain = _VERSION.sub("", operation)
    return _ACTIONS.get(plain, plain)


def iam_resource(action: str, call: SignedCall, known: str, key_arn: Callable[[str], str]) -> str:
    """Return the ARN of the resource that IAM checks for a call.

    Args:
        action: The action in IAM.
        call: The call.
        known: The ARN of the resource that ministack would check.
        key_arn: Returns the ARN of a KMS key, which the argument names by alias, id or ARN.
    """
    if _WITHOUT_RESOURCE.fullmatch(action):
        return "*"
    prefix = action.partition(":")[0]
    resolver = _RESOLVERS.get(prefix)
    if prefix == "kms":
        reference = call.text("KeyId", "TargetKeyId") if action != "kms:CreateAlias" else call.text("TargetKeyId")
        return key_arn(reference) if reference else known
    return (resolver(action, call) if resolver else "") or known


_ECS_KINDS = {
    "task": ("DescribeTasks", "ExecuteCommand", "GetTaskProtection", "StopTask", "UpdateTaskProtection"),
    "service": ("CreateService", "DeleteService", "DescribeServices", "UpdateService"),
    # For ListTasks, IAM checks the resource of all container instances of the cluster.
    "container-instance": ("ListTasks",),
}


def _ecs(action: str, call: SignedCall) -> str:
    operation = action.partition(":")[2]
    if operation in ("RunTask", "StartTask", "RegisterTaskDefinition", "DeleteTaskDefinitions"):
        definition = call.text("taskDefinition", "taskDefinitions", "family")
        if definition.startswith("arn:"):
            return definition
        # The revision of a new task definition is unknown before its registration, so its ARN ends with `:*`.
        return call.arn("ecs", f"task-definition/{definition if ':' in definition else definition + ':*'}")
    cluster = (call.text("cluster") or "default").rsplit("/", 1)[-1]
    names = {"task": ("task", "tasks"), "service": ("serviceName", "service", "services"), "container-instance": ()}
    for kind, operations in _ECS_KINDS.items():
        if operation in operations:
            name = call.text(*names[kind]).rsplit("/", 1)[-1] or "*"
            return call.arn("ecs", f"{kind}/{cluster}/{name}")
    return call.text("resourceArn")


def _elasticache(_action: str, call: SignedCall) -> str:
    kinds = {
        "ReplicationGroupId": "replicationgroup",
        "CacheClusterId": "cluster",
        "UserGroupId": "usergroup",
        "UserId": "user",
        "SnapshotName": "snapshot",
        "CacheParameterGroupName": "parametergroup",
        "CacheSubnetGroupName": "subnetgroup",
    }
    return _named_resource("elasticache", call, kinds)


def _rds(action: str, call: SignedCall) -> str:
    if "GlobalCluster" in action:
        name = call.text("GlobalClusterIdentifier")
        return call.arn("rds", f"global-cluster:{name}", region="") if name else ""
    kinds = {
        "DBClusterSnapshotIdentifier": "cluster-snapshot",
        "DBSnapshotIdentifier": "snapshot",
        "DBInstanceIdentifier": "db",
        "DBClusterIdentifier": "cluster",
        "DBSubnetGroupName": "subgrp",
        "DBClusterParameterGroupName": "cluster-pg",
        "DBParameterGroupName": "pg",
    }
    return _named_resource("rds", call, kinds)


def _named_resource(service: str, call: SignedCall, kinds: Mapping[str, str]) -> str:
    """Return the ARN of the first resource that a parameter of `kinds` names, or else the ARN in `ResourceName`."""
    for parameter, kind in kinds.items():
        if name := call.text(parameter):
            return call.arn(service, f"{kind}:{name}")
    return call.text("ResourceName")


def _logs(action: str, call: SignedCall) -> str:
    group = call.text("logGroupName", "logGroupIdentifier")
    if not group or action.endswith(("TagResource", "ListTagsForResource", "UntagResource")):
        return ""
    group = group.partition(":log-group:")[2] or group
    stream = call.text("logStreamName")
    # The ARN of a log group ends with `:*`, except for the actions on tags:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    is_of_stream = stream and not action.endswith("CreateLogStream")
    return call.arn("logs", f"log-group:{group}:{'log-stream:' + stream if is_of_stream else '*'}")


def _iam(action: str, call: SignedCall) -> str:
    if provider := call.text("OpenIDConnectProviderArn"):
        return provider
    if action == "iam:CreateOpenIDConnectProvider":
        host = call.text("Url").partition("://")[2].rstrip("/")
        return call.arn("iam", f"oidc-provider/{host}", region="")
    path = call.text("Path") or "/"
    if action == "iam:CreateServiceLinkedRole":
        return call.arn("iam", f"role/aws-service-role/{call.text('AWSServiceName')}/*", region="")
    if action == "iam:CreatePolicy":
        return call.arn("iam", f"policy{path}{call.text('PolicyName')}", region="")
    if action == "iam:CreateRole":
        return call.arn("iam", f"role{path}{call.text('RoleName')}", region="")
    return ""


def _route53(_action: str, call: SignedCall) -> str:
    check = call.after("healthcheck")
    return f"arn:aws:route53:::healthcheck/{check}" if check else ""


def _backup(_action: str, call: SignedCall) -> str:
    vault = call.text("BackupVaultName") or call.after("backup-vaults")
    plan = call.after("plans")
    if vault:
        return call.arn("backup", f"backup-vault:{vault}")
    return call.arn("backup", f"backup-plan:{plan}") if plan else ""


def _sns(_action: str, call: SignedCall) -> str:
    return call.text("SubscriptionArn").rpartition(":")[0] or call.text("ResourceArn")


def _dynamodb(_action: str, call: SignedCall) -> str:
    return call.text("BackupArn", "ResourceArn", "TableArn") if not call.text("TableName") else ""


def _sender(call: SignedCall) -> str:
    """Return the address in the field `From` of a mail, without the name of the sender."""
    return parseaddr(call.text("FromEmailAddress"))[1]


def _ses(action: str, call: SignedCall) -> str:
    sender = _sender(call)
    # SES checks the identity of the sender's domain if the address itself is no identity:
    # https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html
    return call.arn("ses", f"identity/{sender.rpartition('@')[2]}") if action == "ses:SendEmail" and sender else ""


_RESOLVERS: Mapping[str, Callable[[str, SignedCall], str]] = {
    "backup": _backup,
    "dynamodb": _dynamodb,
    "ecs": _ecs,
    "elasticache": _elasticache,
    "iam": _iam,
    "logs": _logs,
    "rds": _rds,
    "route53": _route53,
    "ses": _ses,
    "sns": _sns,
}


def condition_keys(action: str, call: SignedCall) -> dict[str, Any]:
    """Return those condition keys of a call that ministack does not set."""
    prefix = action.partition(":")[0]
    keys: dict[str, Any] = {}
    if prefix == "ecs" and (cluster := call.text("cluster")):
        name = cluster if cluster.startswith("arn:") else call.arn("ecs", f"cluster/{cluster}")
        keys["ecs:cluster"] = name
    if prefix == "kms":
        keys["kms:CallerAccount"] = call.account
        context = call.parameters.get("EncryptionContext")
        if isinstance(context, dict):
            keys |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
            keys["kms:EncryptionContextKeys"] = list(context)
        if (alias := call.text("KeyId")).startswith("alias/"):
            keys["kms:RequestAlias"] = alias
    if action == "ses:SendEmail":
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsimpleemailservicev2.html
        keys["ses:FromAddress"] = _sender(call)
        keys["ses:Recipients"] = [
            address
            for kind in ("ToAddresses", "CcAddresses", "BccAddresses")
            for address in (call.parameters.get("Destination") or {}).get(kind) or ()
        ]
    if prefix == "dynamodb":
        keys |= _dynamodb_keys(call)
    if action == "iam:CreateServiceLinkedRole":
        keys["iam:AWSServiceName"] = call.text("AWSServiceName")
    if action in ("iam:AttachRolePolicy", "iam:DetachRolePolicy"):
        keys["iam:PolicyARN"] = call.text("PolicyArn")
    return keys


# The words and functions of DynamoDB's expressions, which are no names of attributes:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
_EXPRESSION_WORDS = frozenset(
    ("set", "remove", "add", "delete", "and", "or", "not", "between", "in", "contains", "size", "begins_with")
) | {"attribute_exists", "attribute_not_exists", "attribute_type", "if_not_exists", "list_append"}
_EXPRESSION_NAME = re.compile(r"(?<![\w:#.])#?[A-Za-z_]\w*")


def _dynamodb_keys(call: SignedCall) -> dict[str, Any]:
    """Return the condition keys `dynamodb:Attributes` and `dynamodb:ReturnValues`.

    `dynamodb:Attributes` has the attributes of the key, of a written item, and of the expressions:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    aliases = call.parameters.get("ExpressionAttributeNames") or {}
    names = {name for part in ("Key", "Item") for name in call.parameters.get(part) or {}}
    for parameter, text in call.parameters.items():
        if parameter.endswith("Expression") and isinstance(text, str):
            words = (match[0] for match in _EXPRESSION_NAME.finditer(text))
            names |= {aliases.get(word, word) for word in words if word.lower() not in _EXPRESSION_WORDS}
    keys: dict[str, Any] = {"dynamodb:Attributes": sorted(names)} if names else {}
    if returned := call.text("ReturnValues"):
        keys["dynamodb:ReturnValues"] = returned
    return keys


def further_checks(
    action: str, resource: str, call: SignedCall, key_of: Callable[[str], str]
) -> Iterator[FurtherCheck]:
    """Yield the actions that the caller must be allowed beside the action of an allowed call.

    Args:
        action: The action in IAM that IAM has allowed.
        resource: The ARN of the resource of the call.
        call: The call.
        key_of: Returns the ARN of the customer's KMS key that encrypts a resource, or an empty text.
    """
    names, service = _PASSED_ROLES.get(action, ((), ""))
    for name in names:
        if role := call.text(name):
            arn = role if role.startswith("arn:") else call.arn("iam", f"role/{role}", region="")
            yield FurtherCheck("iam:PassRole", arn, {"iam:PassedToService": service})
    if action == "dynamodb:CreateTable" and call.parameters.get("Tags"):
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
        yield FurtherCheck("dynamodb:TagResource", resource, {})
    if action == "ses:SendEmail" and (name := call.text("ConfigurationSetName")):
        # A sender needs the permission for the identity and for the configuration set:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsimpleemailservicev2.html
        configuration_set = call.arn("ses", f"configuration-set/{name}")
        if resource != configuration_set:
            yield FurtherCheck(action, configuration_set, condition_keys(action, call))
    uses = _KEY_USES.get(action, ())
    if not uses or not (key := key_of(resource)):
        return
    keys = key_keys(action, resource, key)
    for use in uses:
        yield FurtherCheck(use, key, keys)


def key_keys(action: str, resource: str, key: str) -> dict[str, Any]:
    """Return the condition keys with which a service uses a KMS key for the caller of the service."""
    prefix = action.partition(":")[0]
    region, account = key.split(":")[3:5]
    contexts = {
        "dynamodb": {"aws:dynamodb:tableName": resource.partition(":table/")[2].split("/")[0]},
        "s3": {"aws:s3:arn": resource},
        "secretsmanager": {"SecretARN": resource},
        "sns": {"aws:sns:topicArn": resource},
        "sqs": {"aws:sqs:arn": resource},
    }
    return {
        "kms:ViaService": f"{prefix}.{region}.amazonaws.com",
        "kms:CallerAccount": account,
        **{f"kms:EncryptionContext:{name}": value for name, value in contexts.get(prefix, {}).items()},
    }
