"""Corrections of ministack's answers that differ from AWS's recorded answers and would hide an error of this project.

`python -m tools.recorded_answers` finds differences from AWS's recorded answers. The docstring of
`ministack_corrections` explains the rules for corrections. Import this module only in the process that runs ministack.
"""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ministack.services import eventbridge, iam, kms, s3, secretsmanager, sns, sqs

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]

# https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
_PLAINTEXT_LIMIT_BYTES = 4096
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
_PURGE_SECONDS = 60
_DAY_SECONDS = 86_400


def _attached_policy_exists() -> None:
    def make(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html
            arn = iam._p(params, "PolicyArn")
            if not arn.startswith("arn:"):
                return iam._error(400, "ValidationError", "Invalid ARN:  Could not be parsed!")
            if arn not in iam._policies and not _is_managed(arn):
                return iam._error(404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
            return original(params)

        return handle

    for name in ("_attach_group_policy", "_attach_role_policy", "_attach_user_policy"):
        wrap(iam, name, make)


def _is_managed(arn: str) -> bool:
    return arn in _managed_policies()


@cache
def _managed_policies() -> frozenset[str]:
    """Return the ARNs of AWS's managed policies. ministack has few managed policies, and moto has a file of all.

    The function reads moto's file as text, because an import of moto would need much memory.
    """
    spec = importlib.util.find_spec("moto")
    if spec is None or spec.origin is None:
        return frozenset(iam._aws_managed_policies)
    text = Path(spec.origin).with_name("iam").joinpath("aws_managed_policies.py").read_text(encoding="utf-8")
    policies = json.loads(text.split('"""')[1])
    return frozenset(f"arn:aws:iam::aws:policy{policy['Path']}{name}" for name, policy in policies.items())


def _trust_policy_is_json() -> None:
    def make(original: Handler) -> Handler:
        def handle(params: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
            if not _is_json(iam._p(params, "AssumeRolePolicyDocument")):
                return iam._error(400, "MalformedPolicyDocument", "This policy contains invalid Json")
            return original(params)

        return handle

    wrap(iam, "_create_role", make)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _role_without_empty_description() -> None:
    def make(original: Handler) -> Handler:
        return lambda *args, **options: re.sub(
            r"<Description></Description>|<Description/>", "", original(*args, **options)
        )

    wrap(iam, "_role_xml", make)


def _key_metadata() -> None:
    def make(original: Handler) -> Handler:
        def metadata(record: dict[str, Any]) -> dict[str, Any]:
            # https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html
            members = {"AWSAccountId": record["Arn"].split(":")[4], **original(record)}
            return {name: value for name, value in members.items() if value != [] or not name.endswith("Algorithms")}

        return metadata

    wrap(kms, "_key_metadata", make)


def _key_rotation_status() -> None:
    def make_enable(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            answer = original(data)
            key = kms._resolve_key(data.get("KeyId", ""))
            if answer[0] == 200 and key:
                key["RotationEnabledAt"] = time.time()
            return answer

        return handle

    def make_status(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html
            status, headers, body = original(data)
            key = kms._resolve_key(data.get("KeyId", ""))
            if status != 200 or not key:
                return status, headers, body
            members = {"KeyId": key["KeyId"], **json.loads(body)}
            if members["KeyRotationEnabled"]:
                begin = key.get("RotationEnabledAt", key["CreationDate"])
                members["NextRotationDate"] = begin + members["RotationPeriodInDays"] * _DAY_SECONDS
            else:
                members.pop("RotationPeriodInDays", None)
            return kms.json_response(members)

        return handle

    wrap(kms, "_enable_key_rotation", make_enable)
    wrap(kms, "_get_key_rotation_status", make_status)


def _plaintext_limit() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            # Four characters of base64 encode three bytes.
            text = data.get("Plaintext", "")
            if len(text) * 3 // 4 - text.count("=") > _PLAINTEXT_LIMIT_BYTES:
                return kms.error_response_json(
                    "ValidationException",
                    "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: "
                    f"Member must have length less than or equal to {_PLAINTEXT_LIMIT_BYTES}",
                    400,
                )
            return original(data)

        return handle

    wrap(kms, "_encrypt", make)


def _bucket_policy_is_json() -> None:
    def make(original: Handler) -> Handler:
        def handle(name: str, body: bytes) -> Any:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
            text = body.decode("utf-8", "replace")
            if not text.startswith("{") or not _is_json(text):
                reason = "Policies must be valid JSON and the first byte must be '{'"
                return s3._error("MalformedPolicy", reason, 400)
            if "Statement" not in json.loads(text):
                return s3._error("MalformedPolicy", "Missing required field Statement", 400)
            return original(name, body)

        return handle

    wrap(s3, "_put_bucket_policy", make)


def _rule_with_targets() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            # https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DeleteRule.html
            if eventbridge._targets.get(eventbridge._rule_key(data.get("Name"), data.get("EventBusName", "default"))):
                text = "Rule can't be deleted since it has targets."
                return eventbridge.error_response_json("ValidationException", text, 400)
            return original(data)

        return handle

    wrap(eventbridge, "_delete_rule", make)


def _topic_error_codes() -> None:
    def make(original: Handler) -> Handler:
        # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors
        return lambda code, message, status: original(
            "InvalidParameter" if code == "InvalidParameterException" else code, message, status
        )

    wrap(sns, "_error", make)


def _secret_without_value() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any]) -> Any:
            answer = original(data)
            if answer[0] != 200 or "SecretString" in data or "SecretBinary" in data:
                return answer
            # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html: a secret without a
            # value has no version, so a task that needs the value cannot start.
            secretsmanager._secrets[data["Name"]]["Versions"].clear()
            return secretsmanager.json_response({k: v for k, v in json.loads(answer[2]).items() if k != "VersionId"})

        return handle

    wrap(secretsmanager, "_create_secret", make)


def _purge_in_progress() -> None:
    def make(original: Handler) -> Handler:
        def handle(data: dict[str, Any], url: str) -> Any:
            queue = sqs._get_q(data.get("QueueUrl", url), "sqs:PurgeQueue")
            now = time.time()
            if now - queue.get("purged_at", 0) < _PURGE_SECONDS:
                raise sqs._Err(
                    "PurgeQueueInProgress",
                    f"Only one PurgeQueue operation on {queue['name']} is allowed every {_PURGE_SECONDS} seconds.",
                    403,
                )
            queue["purged_at"] = now
            return original(data, url)

        return handle

    wrap(sqs, "_act_purge_queue", make)


CORRECTIONS = (
    ministack_correction(
        "attached-policy-exists",
        "IAM accepts the attachment of a managed policy that does not exist",
        _attached_policy_exists,
    ),
    ministack_correction(
        "bucket-policy-json", "S3 PutBucketPolicy accepts a text that is no policy", _bucket_policy_is_json
    ),
    ministack_correction(
        "key-metadata",
        "KMS returns a key without its account, and with empty lists of algorithms",
        _key_metadata,
    ),
    ministack_correction(
        "key-rotation-status",
        "KMS GetKeyRotationStatus returns neither the key's id nor the date of the next rotation",
        _key_rotation_status,
    ),
    ministack_correction("plaintext-limit", "KMS Encrypt accepts more than 4096 bytes", _plaintext_limit),
    ministack_correction(
        "purge-in-progress", "SQS accepts a second PurgeQueue for a queue within 60 seconds", _purge_in_progress
    ),
    ministack_correction(
        "role-description",
        "IAM returns an empty description for a role without a description",
        _role_without_empty_description,
    ),
    ministack_correction(
        "rule-with-targets", "EventBridge DeleteRule deletes a rule that has targets", _rule_with_targets
    ),
    ministack_correction(
        "secret-without-value",
        "Secrets Manager creates a version for a secret without a value",
        _secret_without_value,
    ),
    ministack_correction(
        "topic-error-codes", "SNS reports InvalidParameterException instead of InvalidParameter", _topic_error_codes
    ),
    ministack_correction(
        "trust-policy-json", "IAM CreateRole accepts a trust policy that is no JSON", _trust_policy_is_json
    ),
)
