"""Translates data-plane.yaml into settings for requests to AWS, and compares AWS's answers with these settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def key_schema(columns: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return DynamoDB's key schema of a table or an index."""
    schema = [{"AttributeName": columns["hash_key"], "KeyType": "HASH"}]
    if "range_key" in columns:
        schema.append({"AttributeName": columns["range_key"], "KeyType": "RANGE"})
    return schema


def index_request(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with which DynamoDB creates a global secondary index."""
    return {
        "IndexName": name,
        "KeySchema": key_schema(columns),
        "Projection": {"ProjectionType": columns["projection"]},
    }


def pool_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the user pool that an update can change."""
    policy = values["password_policy"]
    return {
        "AutoVerifiedAttributes": values["username_attributes"],
        "MfaConfiguration": "OPTIONAL",
        "Policies": {
            "PasswordPolicy": {
                "MinimumLength": policy["minimum_length"],
                "RequireLowercase": policy["lowercase"],
                "RequireUppercase": policy["uppercase"],
                "RequireNumbers": policy["numbers"],
                "RequireSymbols": policy["symbols"],
            }
        },
    }


def app_client_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the app client that an update can change."""
    return {
        "ExplicitAuthFlows": ["ALLOW_ADMIN_USER_PASSWORD_AUTH"],
        "PreventUserExistenceErrors": "ENABLED",
        "AccessTokenValidity": values["access_token_minutes"],
        "IdTokenValidity": values["access_token_minutes"],
        "RefreshTokenValidity": values["refresh_token_days"],
        "TokenValidityUnits": {"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
    }


def covers(actual: Any, wanted: Any) -> bool:
    """Return whether `actual` contains every setting of `wanted`.

    `actual` may have more settings, and lists in another order.
    """
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(covers(actual.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(actual, list) and sorted(actual) == sorted(wanted)
    return bool(actual == wanted)


def same_attribute(actual: str | None, wanted: str) -> bool:
    """Return whether two values of an SQS attribute are equal, apart from spaces, order and value types in JSON."""
    if not actual or not wanted.startswith("{"):
        return actual == wanted
    try:
        return _as_text(json.loads(actual)) == _as_text(json.loads(wanted))
    except ValueError:
        return False


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
