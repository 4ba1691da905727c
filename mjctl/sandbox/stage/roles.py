"""Issues credentials of IAM roles to the services of the stage, as STS issues them to AWS services.

An AWS service can assume a role only if the role's trust policy names the service. ministack's evaluator of trust
policies does not know services as principals. This module therefore passes to the evaluator only those statements of a
trust policy that name the service.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-services
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

LAMBDA = "lambda.amazonaws.com"
"""The name of Lambda in the trust policies of the roles of functions."""

ECS_TASKS = "ecs-tasks.amazonaws.com"
"""The name of ECS in the trust policies of the roles of tasks."""

_LIFETIME_SECONDS = 3600
_SESSION_NAME_LENGTH = 64


class RoleCredentials(NamedTuple):
    """Holds the credentials of a session of a role.

    Attributes:
        role_arn: The ARN of the role.
        access_key_id: The id of the session's access key.
        secret_access_key: The key that signs requests.
        session_token: The token that each signed request contains besides the access key's id.
        expires: The end of the session, in seconds since 1970.
    """

    role_arn: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires: float

    @property
    def document(self) -> dict[str, str]:
        """Return the JSON document with which a credentials endpoint answers.

        https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
        """
        return {
            "AccessKeyId": self.access_key_id,
            "Expiration": datetime.fromtimestamp(self.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": self.role_arn,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
        }


class RoleRefusedError(Exception):
    """Means that a service cannot assume a role: the role does not exist, or its trust policy does not allow it."""


def assume_for_service(
    role_arn: str, service: str, session_name: str, *, source_arn: str, seconds: float = _LIFETIME_SECONDS
) -> RoleCredentials:
    """Return new credentials of a role for a service of AWS.

    Args:
        role_arn: The ARN of the role.
        service: The service's name in trust policies, e.g. `ecs-tasks.amazonaws.com`.
        session_name: The name of the session, which is the last part of the caller's ARN.
        source_arn: The ARN of the resource for which the service acts: the value of the condition key `aws:SourceArn`.
        seconds: The validity of the credentials.

    Raises:
        RoleRefusedError: the role does not exist, or does not trust the service.
    """
    from ministack.core.iam_evaluator import EvalContext, evaluate_trust_policy
    from ministack.services import iam, sts

    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get_scoped(account, None, name)
    if role is None or role.get("Arn") != role_arn:
        raise RoleRefusedError(f"the role {role_arn} does not exist")
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    context = EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region="",
        service_context={"aws:sourceaccount": account, "aws:sourcearn": source_arn},
    )
    policy = {"Statement": list(_statements_for(service, role.get("AssumeRolePolicyDocument") or "{}"))}
    if not evaluate_trust_policy(policy, service, context):
        raise RoleRefusedError(f"the trust policy of the role {role_arn} does not allow {service} to assume the role")
    credentials = RoleCredentials(
        role_arn=role_arn,
        access_key_id=f"ASIA{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_urlsafe(30),
        session_token=secrets.token_urlsafe(120),
        expires=time.time() + seconds,
    )
    session = session_name[:_SESSION_NAME_LENGTH]
    sts.register_session(
        credentials.access_key_id,
        {
            "AccountId": account,
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            "Expiration": credentials.expires,
            "PrincipalType": "AssumedRole",
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "UserId": f"{role.get('RoleId', name)}:{session}",
        },
    )
    return credentials


def denial(credentials: RoleCredentials, action: str, resource: str, region: str) -> str | None:
    """Return AWS's error message if IAM does not allow a role's session to make a call, or None if IAM allows the call.

    Args:
        credentials: The session of the role.
        action: The action as policies name it, e.g. `ecs:UpdateTaskProtection`.
        resource: The ARN of the resource, or `*`.
        region: The region of the call.
    """
    from ministack.core import iam_evaluator
    from ministack.core.responses import request_scope

    account = credentials.role_arn.split(":")[4]
    with request_scope(account, region):
        decision: Any = iam_evaluator.enforce(
            credentials.access_key_id, action, action.split(":", maxsplit=1)[0], region, resource_arn=resource
        )
    if decision is None:
        return None
    principal = getattr(decision, "principal_arn", "") or credentials.role_arn
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource}"


def _statements_for(service: str, document: str | dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements of a trust policy that name a service, with `*` as principal, which matches every caller."""
    policy = json.loads(document) if isinstance(document, str) else document
    for statement in _listed(policy.get("Statement")):
        principal = statement.get("Principal")
        services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
        denies_everyone = principal == "*" and statement.get("Effect") == "Deny"
        if service in services or denies_everyone:
            yield {**statement, "Principal": "*"}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
