"""Signs players up, confirms their addresses, logs them in and refreshes their tokens, with a user pool of Cognito.

No answer of these functions shows whether an e-mail address has an account. A failed login or confirmation has the same
error for every cause. A sign-up with the address of an existing account has the same answer as a sign-up with a new
address. The setting `auto_confirm_sign_up` is for development. With this setting, a sign-up reports that the account
exists, because a login after the sign-up would show this fact anyway.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from msgspec import Meta

from gameserver.functions.http import HttpError, Request, Response, clean_display_name, clean_email
from gameserver.functions.services import Services
from gameserver.persistence.tables import TablesUnavailable
from gameserver.runtime.aws import error_code

log = structlog.get_logger()

T = TypeVar("T")
_REFUSED = frozenset(
    {"NotAuthorizedException", "UserNotFoundException", "UserNotConfirmedException", "PasswordResetRequiredException"}
)
_THROTTLED = frozenset({"TooManyRequestsException", "LimitExceededException", "ThrottlingException"})
# Errors of Cognito that depend on the account. Cognito reports some of these errors only for existing accounts. The
# functions therefore give the same answer for all these errors.
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ConfirmSignUp.html
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ResendConfirmationCode.html
_UNCONFIRMED = frozenset(
    {
        "AliasExistsException",
        "CodeDeliveryFailureException",
        "CodeMismatchException",
        "ExpiredCodeException",
        "InvalidParameterException",
        "LimitExceededException",
        "NotAuthorizedException",
        "TooManyFailedAttemptsException",
        "UserNotFoundException",
    }
)


class SignUp(msgspec.Struct):
    """Describes the body of a sign-up.

    Attributes:
        email: e-mail address, the name for the login.
        password: password that satisfies the policy of the user pool.
        display_name: name that other players see.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]
    display_name: Annotated[str, Meta(max_length=100)]


class Confirm(msgspec.Struct):
    """Describes the body of a confirmation.

    Attributes:
        email: e-mail address of the account.
        code: code that Cognito has sent to the address.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    code: Annotated[str, Meta(min_length=1, max_length=64)]


class ResendCode(msgspec.Struct):
    """Describes the body of a request for a new code.

    Attributes:
        email: e-mail address of the account.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]


class LogIn(msgspec.Struct):
    """Describes the body of a login.

    Attributes:
        email: e-mail address of the account.
        password: password of the account.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class Refresh(msgspec.Struct):
    """Describes the body of a refresh.

    Attributes:
        refresh_token: the refresh token of an earlier login.
    """

    refresh_token: Annotated[str, Meta(min_length=1, max_length=8192)]


async def sign_up(request: Request, services: Services) -> Response:
    """Answer `POST /v1/signup` with a body `SignUp`: 201 {player_id, confirmed}.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(SignUp)
    services.login_by_source.take(request.source)
    email = clean_email(body.email)
    name = clean_display_name(body.display_name)
    settings = services.settings
    try:
        answer = await _cognito(
            services,
            lambda: services.aws.cognito.sign_up(
                ClientId=settings.client_id,
                Username=email,
                Password=body.password,
                UserAttributes=[{"Name": "email", "Value": email}],
            ),
        )
    except _CognitoError as error:
        if error.code != "UsernameExistsException":
            raise _sign_up_error(error) from error
        if settings.auto_confirm_sign_up:
            raise HttpError(
                409, "account_exists", "an account with this e-mail address exists, log in instead"
            ) from error
        return Response(201, {"player_id": str(uuid.uuid4()), "confirmed": False})
    player_id = answer["UserSub"]
    confirmed = answer["UserConfirmed"]
    if settings.auto_confirm_sign_up and not confirmed:
        await _confirm(services, player_id)
        confirmed = True
    await _keep_name(services, player_id, name)
    return Response(201, {"player_id": player_id, "confirmed": confirmed})


async def confirm(request: Request, services: Services) -> Response:
    """Answer `POST /v1/confirm` with a body `Confirm`: 200 {confirmed}. The player can then log in.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(Confirm)
    email = clean_email(body.email)
    services.login_by_source.take(request.source)
    services.confirmation_by_account.take(email)
    code = body.code.strip()
    try:
        await _cognito(
            services,
            lambda: services.aws.cognito.confirm_sign_up(
                ClientId=services.settings.client_id, Username=email, ConfirmationCode=code
            ),
        )
    except _CognitoError as error:
        if error.code in _UNCONFIRMED:
            message = "the code is wrong or has expired, or the account needs no confirmation"
            raise HttpError(400, "invalid_code", message) from error
        raise _unavailable(error) from error
    return Response(200, {"confirmed": True})


async def resend_code(request: Request, services: Services) -> Response:
    """Answer `POST /v1/confirm/resend` with a body `ResendCode`: 202 {}.

    If the address has an account that is not confirmed, Cognito sends a new code to the address.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ResendCode)
    email = clean_email(body.email)
    services.login_by_source.take(request.source)
    services.mail_by_account.take(email)
    try:
        await _cognito(
            services,
            lambda: services.aws.cognito.resend_confirmation_code(ClientId=services.settings.client_id, Username=email),
        )
    except _CognitoError as error:
        if error.code not in _UNCONFIRMED:
            raise _unavailable(error) from error
        log.info("code_not_sent", code=error.code)
    return Response(202, {})


async def log_in(request: Request, services: Services) -> Response:
    """Answer `POST /v1/login` with a body `LogIn`: 200 {access_token, id_token, refresh_token, expires_in, token_type}.

    `expires_in` is the lifetime of the access token in seconds.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(LogIn)
    email = clean_email(body.email)
    services.login_by_source.take(request.source)
    services.login_by_account.take(email)
    try:
        tokens = await _initiate(services, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": body.password})
    except _CognitoError as error:
        if error.code in _REFUSED or error.code == "InvalidParameterException":
            message = "the e-mail address or the password is wrong, or the account is not confirmed yet"
            raise HttpError(401, "invalid_credentials", message) from error
        raise _unavailable(error) from error
    return Response(200, tokens)


async def refresh(request: Request, services: Services) -> Response:
    """Answer `POST /v1/refresh` with a body `Refresh`: 200 {access_token, id_token, expires_in, token_type}.

    `expires_in` is the lifetime of the access token in seconds.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(Refresh)
    services.login_by_source.take(request.source)
    try:
        tokens = await _initiate(services, "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": body.refresh_token})
    except _CognitoError as error:
        if error.code in _REFUSED or error.code == "InvalidParameterException":
            raise HttpError(401, "invalid_refresh_token", "the refresh token is not valid, log in again") from error
        raise _unavailable(error) from error
    return Response(200, tokens)


class _CognitoError(Exception):
    """Reports a failed call of Cognito. `code` is the error code of Cognito, or "" if Cognito did not answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


async def _cognito(services: Services, call: Callable[[], T]) -> T:
    def guarded() -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            raise _CognitoError(error_code(error), error.response["Error"].get("Message", "")) from None
        except BotoCoreError as error:
            # The text of botocore's error may contain the parameters of the call, for example a password. Keep only the
            # class name of botocore's error.
            raise _CognitoError("", type(error).__name__) from None

    return await services.aws.run(guarded)


async def _initiate(services: Services, flow: Any, parameters: dict[str, str]) -> dict[str, Any]:
    answer = await _cognito(
        services,
        lambda: services.aws.cognito.initiate_auth(
            ClientId=services.settings.client_id, AuthFlow=flow, AuthParameters=parameters
        ),
    )
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
    if flow == "USER_PASSWORD_AUTH":
        tokens["refresh_token"] = result["RefreshToken"]
    return tokens


async def _confirm(services: Services, player_id: str) -> None:
    settings = services.settings
    try:
        await _cognito(
            services,
            lambda: services.aws.cognito.admin_confirm_sign_up(UserPoolId=settings.user_pool_id, Username=player_id),
        )
    except _CognitoError as error:
        raise _unavailable(error) from error


async def _keep_name(services: Services, player_id: str, name: str) -> None:
    try:
        await services.tables.update_player(player_id, display_name=name)
    except TablesUnavailable as error:
        # The sign-up still succeeds if the display name cannot be stored, because Cognito has created the account and
        # would refuse a second sign-up. The player can set the display name later.
        log.warning("display_name_not_stored", player_id=player_id, cause=str(error))


def _sign_up_error(error: _CognitoError) -> HttpError:
    if error.code == "InvalidPasswordException":
        return HttpError(400, "weak_password", error.message or "the password does not satisfy the policy")
    if error.code == "InvalidParameterException":
        return HttpError(400, "invalid_request", "the e-mail address or the password is not acceptable")
    return _unavailable(error)


def _unavailable(error: _CognitoError) -> HttpError:
    if error.code in _THROTTLED:
        return HttpError(429, "too_many_requests", "too many requests, try again later", retry_after_seconds=5)
    log.warning("identity_unavailable", code=error.code, cause=error.message if not error.code else None)
    return HttpError(
        503, "identity_unavailable", "the login service does not answer, try again shortly", retry_after_seconds=2
    )
