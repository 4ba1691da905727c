"""Adds an authenticator app to a player's account as a second factor of the login, and removes the app.

A player removes the second factor with the password and a code of the app, because a stranger may have found an access
token. A player who has lost the authenticator app needs an operator, who removes the second factor with the operation
AdminSetUserMFAPreference of Cognito. A player who changes the app enrols again: the new secret replaces the old secret.
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-mfa-totp.html
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from gameserver.functions import accounts
from gameserver.functions.http import HttpError, Request, Response
from gameserver.functions.identity import REFUSED, CognitoError, call, check_code, check_password, unavailable
from gameserver.functions.services import Services

# Cognito reports a code that does not fit by EnableSoftwareTokenMFAException:
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_VerifySoftwareToken.html
_WRONG_CODE = frozenset({"CodeMismatchException", "EnableSoftwareTokenMFAException", "ExpiredCodeException"})

_REMOVE = "/v1/second-factor/remove"


class Verify(msgspec.Struct):
    """Describes the body of the last step of an enrolment.

    Attributes:
        code: code that the authenticator app shows.
    """

    code: Annotated[str, Meta(min_length=1, max_length=64)]


class Remove(msgspec.Struct):
    """Describes the body of a removal.

    Attributes:
        password: password of the account.
        code: code that the authenticator app shows.
    """

    password: Annotated[str, Meta(min_length=1, max_length=256)]
    code: Annotated[str, Meta(min_length=1, max_length=64)]


async def get_state(request: Request, services: Services) -> Response:
    """Answer `GET /v1/second-factor`: 200 {enabled}.

    Raises:
        HttpError: the answer to a request that fails.
    """
    await services.login_by_source.take(request.network)
    try:
        user = await call(services, lambda: services.aws.cognito.get_user(AccessToken=request.access_token))
    except CognitoError as error:
        raise _failed(error) from error
    return Response(200, {"enabled": "SOFTWARE_TOKEN_MFA" in user.get("UserMFASettingList", [])})


async def enrol(request: Request, services: Services) -> Response:
    """Answer `POST /v1/second-factor`: 200 {secret, uri}. The second factor is off until `verify` has checked a code.

    `secret` is the secret of the authenticator app in base 32, and `uri` an address from which an app reads the secret.

    Raises:
        HttpError: the answer to a request that fails.
    """
    await services.second_factor_by_account.take(request.player_id)
    cognito = services.aws
    try:
        user = await call(services, lambda: cognito.cognito.get_user(AccessToken=request.access_token))
        answer = await call(
            services, lambda: cognito.cognito.associate_software_token(AccessToken=request.access_token)
        )
    except CognitoError as error:
        raise _failed(error) from error
    attributes = {attribute["Name"]: attribute.get("Value", "") for attribute in user["UserAttributes"]}
    issuer = services.settings.project
    label = quote(f"{issuer}:{attributes.get('email', request.player_id)}")
    secret = answer["SecretCode"]
    return Response(
        200, {"secret": secret, "uri": f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"}
    )


async def verify(request: Request, services: Services) -> Response:
    """Answer `POST /v1/second-factor/verify` with a body `Verify`: 200 {enabled}. Each later login needs a code.

    Raises:
        HttpError: the answer to a request that fails. 400 `invalid_code` for a code that does not fit.
    """
    body = request.json(Verify)
    await services.second_factor_by_account.take(request.player_id)
    token = request.access_token
    try:
        answer = await call(
            services,
            lambda: services.aws.cognito.verify_software_token(AccessToken=token, UserCode=body.code.strip()),
        )
        if answer["Status"] != "SUCCESS":
            raise _wrong_code()
        # VerifySoftwareToken only registers the app. Cognito asks for a code once the app is the preferred factor:
        # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserMFAPreference.html
        await accounts.set_second_factor(services, request.player_id, enabled=True)
    except CognitoError as error:
        raise _failed(error) from error
    return Response(200, {"enabled": True})


async def remove(request: Request, services: Services) -> Response:
    """Answer `POST /v1/second-factor/remove` with a body `Remove`: 200 {enabled}. Later logins need only the password.

    Cognito has no operation that checks a code of an app that is in use already, apart from a login. The function
    therefore logs the player in, and forgets the tokens of this login.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_VerifySoftwareToken.html

    Raises:
        HttpError: the answer to a request that fails. 400 `wrong_password` or `invalid_code` if the password or the
            code does not fit, and 401 if the session has ended.
    """
    body = request.json(Remove)
    await services.second_factor_by_account.take(request.player_id)
    token = request.access_token
    try:
        # A revoked access token must not give answers about passwords and codes.
        await call(services, lambda: services.aws.cognito.get_user(AccessToken=token))
        await _log_in_again(request, services, body)
        await accounts.set_second_factor(services, request.player_id, enabled=False)
    except CognitoError as error:
        raise _failed(error) from error
    return Response(200, {"enabled": False})


async def _log_in_again(request: Request, services: Services, body: Remove) -> None:
    """Check the password and the code of the player by a login.

    Raises:
        HttpError: 400 if the password or the code does not fit.
        CognitoError: Cognito throttles the login or does not answer.
    """
    try:
        answer = await check_password(services, request.player_id, body.password, request, _REMOVE)
    except CognitoError as error:
        if error.code in REFUSED:
            raise HttpError(400, "wrong_password", "the password is wrong") from error
        raise
    if answer.get("ChallengeName") != "SOFTWARE_TOKEN_MFA":
        # The second factor is off already.
        return
    try:
        user_id = answer["ChallengeParameters"]["USER_ID_FOR_SRP"]
        await check_code(services, user_id, body.code, answer["Session"], request, _REMOVE)
    except CognitoError as error:
        if error.code in _WRONG_CODE | REFUSED:
            raise _wrong_code() from error
        raise


def _wrong_code() -> HttpError:
    return HttpError(400, "invalid_code", "the code of the authenticator app is wrong, or it was used already")


def _failed(error: CognitoError) -> HttpError:
    if error.code in _WRONG_CODE:
        return _wrong_code()
    if error.code in REFUSED:
        # The user pool has revoked the access token, or the account does not exist any more.
        return HttpError(401, "unauthorized", "the session has ended, log in again")
    return unavailable(error)
