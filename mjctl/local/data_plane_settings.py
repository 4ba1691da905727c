"""What the data plane's definition means in the words of each AWS API, and when an answer fits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def key_schema(columns: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the key schema of a table or an index."""
    schema = [{"AttributeName": columns["hash_key"], "KeyType": "HASH"}]
    if "range_key" in columns:
        schema.append({"AttributeName": columns["range_key"], "KeyType": "RANGE"})
    return schema


def index_request(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return what DynamoDB is asked for to make a global secondary index."""
    return {
        "IndexName": name,
        "KeySchema": key_schema(columns),
        "Projection": {"ProjectionType": columns["projection"]},
    }


def pool_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the user pool that can be changed later."""
    policy = values["password_policy"]
    return {
        "AutoVerifiedAttributes": values["username_attributes"],
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
    """Return the settings of the app client that can be changed later."""
    return {
        "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        "PreventUserExistenceErrors": "ENABLED",
        "AccessTokenValidity": values["access_token_minutes"],
        "IdTokenValidity": values["access_token_minutes"],
        "RefreshTokenValidity": values["refresh_token_days"],
        "TokenValidityUnits": {"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
    }


def covers(found: Any, wanted: Any) -> bool:
    """Tell whether `found` has everything that `wanted` has; it may have more, and lists in another order."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(covers(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and sorted(found) == sorted(wanted)
    return bool(found == wanted)


def same_attribute(found: str | None, wanted: str) -> bool:
    """Tell whether two attribute values of SQS mean the same. JSON may be written in many ways, numbers as text."""
    if not found or not wanted.startswith("{"):
        return found == wanted
    try:
        return _as_text(json.loads(found)) == _as_text(json.loads(wanted))
    except ValueError:
        return False


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
