"""Logs players in and out, and renews their tokens, with a user pool of Cognito.

A failed log-in has the same answer for an unknown address, a wrong password and an account that is not confirmed.
"""

from __future__ import annotations

from typing import Annotated, Any

import jwt
import msgspec
import structlog
from msgspec import Meta

from gameserver.functions.http import HttpError, Request, Response, clean_email
from gameserver.functions.identity import REFUSED, CognitoError, call, check_code, check_password, unavailable
from gameserver.functions.services import Services

log = structlog.get_logger()

# Cognito answers RefreshTokenReuseException to a refresh token that a newer refresh token has replaced:
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetTokensFromRefreshToken.html
_REFRESH_REFUSED = REFUSED | {"RefreshTokenReuseException"}
# Cognito's answers to the revocation of a token that no player can use any more:
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RevokeToken.html
_NOT_REVOCABLE = REFUSED | {"UnauthorizedException", "UnsupportedTokenTypeException"}
# Cognito accepts each code of an authenticator app once. ExpiredCodeException is the answer to the second use:
# https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-mfa-totp.html
_WRONG_CODE = frozenset({"CodeMismatchException", "ExpiredCodeException"})


class LogIn(msgspec.Struct):
    """Describes the body of a login.

    Attributes:
        email: e-mail address of the account.
        password: password of the account.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class SecondFactor(msgspec.Struct):
    """Describes the body of the second step of a login.

    Attributes:
        user_id: the field `user_id` of the answer to the first step.
        session: the field `session` of the answer to the first step.
        code: code that the player's authenticator app shows.
    """

    user_id: Annotated[str, Meta(min_length=1, max_length=254)]
    session: Annotated[str, Meta(min_length=20, max_length=4096)]
    code: Annotated[str, Meta(min_length=1, max_length=64)]


class Refresh(msgspec.Struct):
    """Describes the body of a refresh.

    Attributes:
        refresh_token: the refresh token of the last login or refresh.
    """

    refresh_token: Annotated[str, Meta(min_length=1, max_length=8192)]


class LogOut(msgspec.Struct):
    """Describes the body of a logout.

    Attributes:
        refresh_token: the refresh token of the last login or refresh.
    """

    refresh_token: Annotated[str, Meta(min_length=1, max_length=8192)]


async def log_in(request: Request, services: Services) -> Response:
    """Answer `POST /v1/login` with a body `LogIn`.

    The answer is 200 {access_token, id_token, refresh_token, expires_in, token_type}. `expires_in` is the lifetime of
    the access token in seconds. For an account with a second factor, the answer is 200 {challenge, user_id, session},
    and the player continues with `POST /v1/login/second-factor`.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(LogIn)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.login_by_pair.take(request.network, email)
    try:
        answer = await check_password(services, email, body.password, request, "/v1/login")
    except CognitoError as error:
        if error.code in REFUSED:
            raise _invalid_credentials() from error
        raise unavailable(error) from error
    if answer.get("ChallengeName") == "SOFTWARE_TOKEN_MFA":
        user_id = answer["ChallengeParameters"]["USER_ID_FOR_SRP"]
        return Response(200, {"challenge": "second_factor", "user_id": user_id, "session": answer["Session"]})
    return Response(200, _checked_tokens(answer, services))


async def answer_second_factor(request: Request, services: Services) -> Response:
    """Answer `POST /v1/login/second-factor` with a body `SecondFactor`: 200 with the tokens of `log_in`.

    Raises:
        HttpError: the answer to a request that fails. 400 `invalid_code` for a code that does not fit, and 401
            `login_expired` if the player must begin the login again.
    """
    body = request.json(SecondFactor)
    await services.login_by_source.take(request.network)
    # A session belongs to a player who has entered the password, so a stranger cannot use up the tries of the player.
    await services.second_factor_by_session.take(body.session)
    try:
        path = "/v1/login/second-factor"
        answer = await check_code(services, body.user_id, body.code, body.session, request, path)
    except CognitoError as error:
        if error.code in _WRONG_CODE:
            raise HttpError(
                400, "invalid_code", "the code of the authenticator app is wrong, or it was used already"
            ) from error
        if error.code in REFUSED:
            raise HttpError(401, "login_expired", "the login has taken too long, log in again") from error
        raise unavailable(error) from error
    return Response(200, _checked_tokens(answer, services))


async def refresh(request: Request, services: Services) -> Response:
    """Answer `POST /v1/refresh` with a body `Refresh`: 200 with the tokens of `log_in`.

    The answer has a new `refresh_token` if the user pool rotates refresh tokens. The user pool then refuses the old
    refresh token after the grace period of the app client.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(Refresh)
    await services.login_by_source.take(request.network)
    try:
        # REFRESH_TOKEN_AUTH is not possible for an app client that rotates refresh tokens:
        # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html
        answer = await call(
            services,
            lambda: services.aws.cognito.get_tokens_from_refresh_token(
                ClientId=services.settings.client_id, RefreshToken=body.refresh_token
            ),
        )
    except CognitoError as error:
        if error.code in _REFRESH_REFUSED:
            raise HttpError(401, "invalid_refresh_token", "the refresh token is not valid, log in again") from error
        raise unavailable(error) from error
    return Response(200, _tokens(answer))


async def log_out(request: Request, services: Services) -> Response:
    """Answer `POST /v1/logout` with a body `LogOut`: 200 {}. A refresh token that is not valid is no error.

    The user pool revokes the refresh token, and all tokens that come from the same login. The API and the game servers
    check only the signature and the expiry of an access token, so they accept the access token until its expiry.
    https://docs.aws.amazon.com/cognito/latest/developerguide/token-revocation.html

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(LogOut)
    await services.login_by_source.take(request.network)
    try:
        await call(
            services,
            lambda: services.aws.cognito.revoke_token(ClientId=services.settings.client_id, Token=body.refresh_token),
        )
    except CognitoError as error:
        if error.code not in _NOT_REVOCABLE:
            raise unavailable(error) from error
        log.info("token_not_revoked", code=error.code)
    return Response(200, {})


async def log_out_everywhere(request: Request, services: Services) -> Response:
    """Answer `POST /v1/logout/everywhere`: 200 {}. The user pool revokes the refresh tokens of all the player's logins.

    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GlobalSignOut.html

    Raises:
        HttpError: the answer to a request that fails.
    """
    await services.login_by_source.take(request.network)
    try:
        await call(services, lambda: services.aws.cognito.global_sign_out(AccessToken=request.access_token))
    except CognitoError as error:
        if error.code in REFUSED:
            raise HttpError(401, "unauthorized", "the session has ended, log in again") from error
        raise unavailable(error) from error
    return Response(200, {})


def _invalid_credentials() -> HttpError:
    message = "the e-mail address or the password is wrong, or the account is not confirmed yet"
    return HttpError(401, "invalid_credentials", message)


def _checked_tokens(answer: Any, services: Services) -> dict[str, Any]:
    """Return the tokens of a log-in by a password, if the player has confirmed the e-mail address.

    Cognito lets the owner of an unverified address log in, because the operations of the function `auth` confirm each
    account. Only the id token shows whether the address is verified:
    https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html

    Raises:
        HttpError: 401 if the address is not confirmed, with the answer for a wrong password.
    """
    tokens = _tokens(answer)
    # Cognito itself has sent the token as the answer to the log-in, so its signature needs no check.
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    if not services.settings.auto_confirm_sign_up and str(claims.get("email_verified", "")).lower() != "true":
        raise _invalid_credentials()
    return tokens


def _tokens(answer: Any) -> dict[str, Any]:
    result = answer.get("AuthenticationResult")
    if result is None:
        raise HttpError(
            403, "challenge_required", "this account needs a further login step, which this API does not support"
        )
    tokens = {
        "access_token": result["AccessToken"],
        "id_token": result["IdToken"],
        "expires_in": result["ExpiresIn"],
        "token_type": result["TokenType"],
    }
    if "RefreshToken" in result:
        tokens["refresh_token"] = result["RefreshToken"]
    return tokens
