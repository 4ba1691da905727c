"""Reads the records of ministack that a decision of IAM needs: policies, roles, KMS keys and grants."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import dynamodb, iam, kms, s3, secretsmanager, sns, sqs

from mjctl.sandbox.policies import Call, Caller, CallerKind, Policy, Statement
from mjctl.sandbox.policy_conditions import PolicyError

_KEY_IN_XML = re.compile(r"<KMSMasterKeyID>([^<]+)</KMSMasterKeyID>")


def caller_of(arn: str) -> Caller:
    """Return the caller that an ARN names. For a session, the caller's `role_arn` includes the path of the role."""
    caller = Caller.of(arn)
    if caller.kind is not CallerKind.ROLE:
        return caller
    role = iam._roles.get_scoped(caller.account, None, caller.role_arn.rsplit("/", 1)[-1]) or {}
    return Caller.of(arn, role_arn=role.get("Arn", ""))


def key_arn(reference: str) -> str:
    """Return the ARN of a KMS key that `reference` names by alias, id or ARN, or `reference` without such a key."""
    key = kms._resolve_key(reference)
    return str(key["Arn"]) if key else reference


def customer_key(resource: str) -> str:
    """Return the ARN of the customer's KMS key that encrypts a resource, or an empty text without such a key.

    AWS managed keys need no check. An AWS managed key allows its use to every caller in the account that may use the
    key's service:
    https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk
    """
    if not resource.startswith("arn:"):
        return ""
    reference = _key_reference(resource)
    alias = reference.rsplit(":", 1)[-1]
    if not reference or alias.startswith("alias/aws/"):
        return ""
    key = kms._resolve_key(reference)
    return str(key["Arn"]) if key else ""


def _key_reference(resource: str) -> str:
    service, _, _, name = resource.split(":", 5)[2:]
    if service == "sqs":
        queue = sqs._queue_by_arn(resource) or {}
        return str(queue.get("attributes", {}).get("KmsMasterKeyId") or "")
    if service == "sns":
        topic = sns._topic_by_arn_any_scope(resource) or {}
        return str(topic.get("attributes", {}).get("KmsMasterKeyId") or "")
    if service == "secretsmanager":
        secret = secretsmanager._resolve(resource)[1] or {}
        return str(secret.get("KmsKeyId") or "")
    if service == "dynamodb":
        table = dynamodb._tables.get(name.removeprefix("table/").split("/")[0]) or {}
        return str((table.get("SSEDescription") or {}).get("KMSMasterKeyArn") or "")
    if service == "s3":
        match = _KEY_IN_XML.search(str(s3._bucket_encryption.get(name.split("/")[0]) or ""))
        return match[1] if match else ""
    return ""


def granted(call: Call) -> bool:
    """Return whether a grant of a KMS key allows a call that uses the key.

    AWS documents the rules of grants at https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
    """
    operation = call.action.partition(":")[2]
    own = {call.caller.arn, call.caller.role_arn} - {""}
    context = {
        name.removeprefix("kms:encryptioncontext:"): values[0]
        for name, values in call.all_keys().items()
        if name.startswith("kms:encryptioncontext:")
    }
    for grant in list(kms._grants.values()):
        if (
            grant["KeyId"] != call.resource
            or grant["GranteePrincipal"] not in own
            or operation not in grant["Operations"]
        ):
            continue
        constraints = grant.get("Constraints") or {}
        subset = {name.lower(): value for name, value in (constraints.get("EncryptionContextSubset") or {}).items()}
        equal = {name.lower(): value for name, value in (constraints.get("EncryptionContextEquals") or {}).items()}
        if subset.items() <= context.items() and (not equal or equal == context):
            return True
    return False


def resource_policy(arn: str) -> tuple[Policy | None, str]:
    """Return the resource-based policy of a resource, and the account of the resource; (None, "") without a policy."""
    service = arn.split(":")[2] if arn.startswith("arn:") else ""
    stored = iam_evaluator._resource_policy(service, arn)
    if stored is None:
        return None, ""
    document, owner = stored
    return (parsed(document) if document else None), owner or ""


def parsed(document: str | Mapping[str, Any]) -> Policy | None:
    """Parse a policy. Returns: None for an invalid document, which ministack accepts and AWS would have refused."""
    return _parsed_text(document if isinstance(document, str) else json.dumps(document))


@lru_cache(maxsize=1024)
def _parsed_text(document: str) -> Policy | None:
    try:
        return Policy.parse(document)
    except PolicyError:
        return None


def policies_of(documents: Sequence[Sequence[Any]]) -> list[Policy]:
    """Return a policy for each list of statements that ministack has parsed."""
    return [Policy("", tuple(_statement(s) for s in statements)) for statements in documents]


def merged(documents: Sequence[Sequence[Any]]) -> Policy:
    """Return one policy with the statements of several policies, which together limit a role or a session."""
    return Policy("", tuple(statement for policy in policies_of(documents) for statement in policy.statements))


def _statement(parsed: Any) -> Statement:
    return Statement(
        sid=parsed.sid,
        allows=parsed.effect == "Allow",
        actions=tuple(parsed.actions) or None,
        not_actions=tuple(parsed.not_actions) or None,
        resources=tuple(parsed.resources) or None,
        not_resources=tuple(parsed.not_resources) or None,
        principals=None,
        not_principals=None,
        conditions=parsed.conditions,
        variables=True,
    )
