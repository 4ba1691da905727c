"""Corrections of ministack's Cognito and SES: refresh tokens, second factors, and the identities of senders.

The docstring of `ministack_corrections` explains the rules for corrections. Import this module only in the process that
runs ministack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ministack.services import cognito, ses, ses_v2

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]

# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_CreateUserPoolClient.html
_SESSION_MINUTES = 3
# A code of an authenticator app fits for at most three steps of 30 s.
_CODE_SECONDS = 90.0
_REFRESH_FLOWS = ("REFRESH_TOKEN_AUTH", "REFRESH_TOKEN")

# Refresh token -> time at which a newer refresh token has replaced it, in seconds since 1970.
_replaced: dict[str, float] = {}
# Session of a second factor -> name of the user, and the end of the session in seconds since 1970.
_sessions: dict[str, tuple[str, float]] = {}


def _rotation_of(client_id: Any) -> dict[str, Any] | None:
    """Return the setting RefreshTokenRotation of an app client, or None if the app client does not rotate tokens."""
    pool = cognito._pool_for_client(client_id)[0]
    rotation = (pool or {}).get("_clients", {}).get(client_id, {}).get("RefreshTokenRotation") or {}
    return rotation if rotation.get("Feature") == "ENABLED" else None


def _rotation() -> None:
    def make_client(original: Handler) -> Handler:
        def change(data: dict[str, Any]) -> Any:
            status, headers, body = original(data)
            if status != 200:
                return status, headers, body
            answer = json.loads(body)["UserPoolClient"]
            client = cognito._user_pools[answer["UserPoolId"]]["_clients"][answer["ClientId"]]
            # UpdateUserPoolClient resets a setting that the request omits:
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPoolClient.html
            client.pop("RefreshTokenRotation", None)
            if "RefreshTokenRotation" in data:
                answer["RefreshTokenRotation"] = client["RefreshTokenRotation"] = data["RefreshTokenRotation"]
            else:
                answer.pop("RefreshTokenRotation", None)
            return status, headers, json.dumps({"UserPoolClient": answer}).encode()

        return change

    def make_tokens(original: Handler) -> Handler:
        def tokens(data: dict[str, Any]) -> Any:
            client_id, old = data.get("ClientId"), data.get("RefreshToken")
            rotation = _rotation_of(client_id)
            if rotation is None:
                return original(data)
            # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetTokensFromRefreshToken.html
            grace = float(rotation.get("RetryGracePeriodSeconds") or 0)
            if old in _replaced and time.time() >= _replaced[old] + grace:
                message = "The refresh token was replaced by a newer refresh token."
                return cognito.error_response_json("RefreshTokenReuseException", message, 400)
            status, headers, body = original(data)
            if status != 200:
                return status, headers, body
            pool, pool_id = cognito._pool_for_client(client_id)
            origin = cognito._token_claims(old).get("origin_jti", "")
            user = cognito._user_from_token(old, pool)
            new = cognito._build_auth_result(pool_id, client_id, user, origin_jti=origin)["RefreshToken"]
            _replaced.setdefault(str(old), time.time())
            answer = json.loads(body)
            answer["AuthenticationResult"]["RefreshToken"] = new
            return status, headers, json.dumps(answer).encode()

        return tokens

    def make_flow(original: Handler) -> Handler:
        def check(action: str, data: dict[str, Any]) -> Any:
            if (
                action.endswith("InitiateAuth")
                and data.get("AuthFlow") in _REFRESH_FLOWS
                and _rotation_of(data.get("ClientId")) is not None
            ):
                # AWS's documents do not name the error code:
                # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html
                message = "REFRESH_TOKEN_AUTH is not possible with the rotation of refresh tokens."
                return cognito.error_response_json("InvalidParameterException", message, 400)
            return original(action, data)

        return check

    wrap(cognito, "_create_user_pool_client", make_client)
    wrap(cognito, "_update_user_pool_client", make_client)
    wrap(cognito, "_get_tokens_from_refresh_token", make_tokens)
    # ministack calls this check only with AUTH=true, as on the stage.
    wrap(cognito, "_auth_flow_error", make_flow)


def _second_factor() -> None:
    def make_challenge(original: Handler) -> Handler:
        def challenge(pool: dict[str, Any], user: dict[str, Any], *arguments: Any) -> Any:
            answer = original(pool, user, *arguments)
            if answer is not None:
                name = user["Username"]
                _sessions[answer["Session"]] = (name, time.time() + 60 * _SESSION_MINUTES)
                # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminRespondToAuthChallenge.html
                answer["ChallengeParameters"]["USER_ID_FOR_SRP"] = name
            return answer

        return challenge

    def make_respond(original: Handler) -> Handler:
        def respond(data: dict[str, Any]) -> Any:
            if data.get("ChallengeName") != "SOFTWARE_TOKEN_MFA":
                return original(data)
            responses = data.get("ChallengeResponses") or {}
            name, end = _sessions.get(str(data.get("Session")), ("", 0.0))
            if not name or name != responses.get("USERNAME") or time.time() >= end:
                message = "Invalid session for the user."
                return cognito.error_response_json("NotAuthorizedException", message, 400)
            pool = cognito._pool_for_client(data.get("ClientId"))[0]
            user = cognito._resolve_user(pool, name)[0] or {}
            code = responses.get("SOFTWARE_TOKEN_MFA_CODE")
            used, used_at = user.get("_used_code", ("", 0.0))
            if code == used and time.time() - used_at < _CODE_SECONDS:
                # https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-mfa-totp.html
                message = "Your software token has already been used once."
                return cognito.error_response_json("ExpiredCodeException", message, 400)
            answer = original(data)
            if answer[0] == 200:
                del _sessions[data["Session"]]
                user["_used_code"] = (code, time.time())
            return answer

        return respond

    wrap(cognito, "_mfa_challenge_for_user", make_challenge)
    wrap(cognito, "_respond_to_auth_challenge", make_respond)
    wrap(cognito, "_admin_respond_to_auth_challenge", make_respond)


def _identities() -> None:
    def make(original: Handler) -> Handler:
        def attributes(parameters: dict[str, Any]) -> Any:
            # On AWS, both versions of SES's API have the same identities:
            # https://docs.aws.amazon.com/ses/latest/APIReference/API_GetIdentityVerificationAttributes.html
            status, headers, body = original(parameters)
            for identity in ses._collect_list(parameters, "Identities.member"):
                if (ses_v2._identities.get(identity) or {}).get("VerifiedForSendingStatus"):
                    entry = f"<key>{identity}</key><value><VerificationStatus>"
                    body = body.replace(f"{entry}Pending".encode(), f"{entry}Success".encode())
            return status, headers, body

        return attributes

    wrap(ses, "_get_identity_verification_attributes", make)


CORRECTIONS = (
    ministack_correction(
        "cognito-refresh-rotation",
        "Cognito ignores the rotation of refresh tokens, and does not return the setting of an app client",
        _rotation,
    ),
    ministack_correction(
        "cognito-second-factor",
        "Cognito accepts a code of an authenticator app without a log-in before it, and more than once",
        _second_factor,
    ),
    ministack_correction(
        "ses-identities", "SES version 1 does not know the identities that SES version 2 has verified", _identities
    ),
)
