"""Creates sessions of IAM roles for the services of AWS that run the environment's code, such as Lambda."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

# The prefix of AWS's ids of temporary keys:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_TEMPORARY = "ASIA"


@dataclass(frozen=True)
class RoleSession:
    """Holds temporary credentials of a role.

    Attributes:
        access_key_id: The id of the key.
        secret_access_key: The secret with which requests are signed.
        token: The session's token, which requests must contain.
        expires: The end of the session in seconds since 1970, or None if the session does not expire.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: float | None


def is_trusted(role_arn: str, service: str) -> bool:
    """Return whether a role exists and its trust policy lets a service of AWS, such as `lambda.amazonaws.com`, use it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    from ministack.core.iam_evaluator import EvalContext, evaluate_trust_policy
    from ministack.services import iam

    parts = role_arn.split(":")
    if len(parts) < 6:  # arn:aws:iam::ACCOUNT:role/NAME
        return False
    role = iam._roles.get_scoped(parts[4], None, role_arn.rsplit("/", 1)[-1])
    if role is None:
        return False
    policy = role.get("AssumeRolePolicyDocument") or "{}"
    document = json.loads(policy) if isinstance(policy, str) else policy
    # ministack's evaluator does not know services as callers. So select the statements that name the service, and let
    # the evaluator decide on actions, effects and conditions.
    statements = [{**s, "Principal": "*"} for s in _listed(document.get("Statement")) if service in _services(s)]
    context = EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=parts[4],
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region="",
        service_context={"aws:sourceaccount": parts[4]},
    )
    return bool(evaluate_trust_policy({"Statement": statements}, service, context))


def create_session(role_arn: str, name: str, seconds: float | None = None) -> RoleSession:
    """Create a session of a role, which ministack's IAM then knows. The caller has checked `is_trusted`.

    Args:
        role_arn: The role.
        name: The name of the session, which appears in the ARN of the caller.
        seconds: The validity, or None for a session without end.
    """
    from ministack.services import iam, sts

    account, role_name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get_scoped(account, None, role_name) or {}
    expires = None if seconds is None else time.time() + seconds
    session = RoleSession(
        access_key_id=_TEMPORARY + secrets.token_hex(8).upper(),
        secret_access_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(120),
        expires=expires,
    )
    sts.register_session(
        session.access_key_id,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{name}",
            "UserId": f"{role.get('RoleId', role_name)}:{name}",
            "AccountId": account,
            "PrincipalType": "AssumedRole",
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.token,
            **({} if expires is None else {"Expiration": expires}),
        },
    )
    return session


def _services(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    return _listed(principal.get("Service")) if isinstance(principal, dict) else []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
