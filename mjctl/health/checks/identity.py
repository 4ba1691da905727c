"""Checks the user pool, the public keys that verify the user pool's tokens, and the encryption keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mjctl.health.checks.fleet import NOT_SERVED
from mjctl.health.checks.http import look
from mjctl.health.model import (
    AWS_CHECK_SECONDS,
    Check,
    CheckFunction,
    Finding,
    RegionContext,
    failed,
    passed,
    skipped,
    warned,
)
from mjctl.models.check import Severity
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check of the user pool, and a check of each encryption key."""
    yield Check("identity", check_identity, AWS_CHECK_SECONDS, severity=Severity.CRITICAL)
    for key in contract.keys:
        yield Check(f"key/{key}", _key(key), AWS_CHECK_SECONDS, Severity.CRITICAL)


async def check_identity(context: RegionContext) -> Finding:
    """Check that the user pool exists, and that the public keys that verify the pool's tokens can be fetched."""
    part = context.contract.identity
    # All regions of an environment use one user pool, so call Cognito in the region with which the id of the pool
    # begins.
    home = part.user_pool_id.partition("_")[0]
    pool = await context.clients.call_in(home, "cognito-idp", "describe_user_pool", UserPoolId=part.user_pool_id)
    try:
        answer = await look(context, "the user pool's key set (JWKS)", part.jwks_url)
    except UnreachableError:
        if context.contract.endpoints.served:
            raise
        return skipped(f"user pool {part.user_pool_id} exists; {NOT_SERVED}", user_pool=part.user_pool_id)
    keys = answer.body.get("keys", []) if isinstance(answer.body, dict) else []
    usable = [key.get("kid") for key in keys if key.get("kty") == "RSA"]
    if answer.status != 200 or not usable:
        return failed(
            f"the key set has no usable key (HTTP {answer.status}), so no token can be verified",
            hint=f"players cannot log in until {part.jwks_url} publishes keys. If the user pool was deleted, "
            f"`mjctl deploy --env {context.contract.environment} --region {context.contract.region}` creates a new "
            "pool",
            http_status=answer.status,
        )
    return passed(
        f"user pool {part.user_pool_id}, {len(usable)} signing key{'s' if len(usable) != 1 else ''}",
        user_pool=part.user_pool_id,
        users=pool["UserPool"].get("EstimatedNumberOfUsers"),
        key_ids=usable,
    )


def _key(key: str) -> CheckFunction:
    async def check(context: RegionContext) -> Finding:
        answer = await context.clients.call("kms", "describe_key", KeyId=context.contract.keys[key])
        state = answer["KeyMetadata"].get("KeyState", "Unknown")
        if state != "Enabled":
            return failed(
                f"the key is {state}, so data under this key cannot be read",
                hint=_usable_again(context.contract, context.contract.keys[key], state),
                state=state,
            )
        if context.contract.managed is None or _is_replica(answer["KeyMetadata"]):
            # Do not check the rotation of a replica key, because KMS rotates it together with its primary key in
            # another region.
            return passed("enabled", state=state)
        rotation = await context.clients.call("kms", "get_key_rotation_status", KeyId=context.contract.keys[key])
        if not rotation.get("KeyRotationEnabled"):
            scope = f"--env {context.contract.environment} --region {context.contract.region}"
            return warned(
                "enabled, but never rotated",
                hint=f"`mjctl deploy {scope}` turns on the rotation of the key",
                state=state,
            )
        return passed("enabled, rotated every year", state=state, rotation=True)

    return check


def _usable_again(contract: Contract, key: str, state: str) -> str:
    """Return advice on how to enable an encryption key again.

    In a local region a deploy enables the key. On AWS the key policy allows only administrators to enable the key, with
    a command of the AWS CLI.
    """
    if contract.managed is None:
        return f"`mjctl deploy --env {contract.environment} --region {contract.region}` enables the key again"
    enable = f"`aws kms enable-key --key-id {key} --region {contract.region}`"
    # KMS leaves a key disabled after its deletion was cancelled, so also enable the key:
    # https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html
    if state != "PendingDeletion":
        return enable
    return f"`aws kms cancel-key-deletion --key-id {key} --region {contract.region}`, then {enable}"


def _is_replica(key: dict[str, Any]) -> bool:
    return bool(key.get("MultiRegionConfiguration", {}).get("MultiRegionKeyType") == "REPLICA")
