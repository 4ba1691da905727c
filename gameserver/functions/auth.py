"""Signs players up, confirms their addresses and resets their passwords, with a user pool of Cognito.

No answer of these functions shows whether an e-mail address has an account. A failed confirmation or reset has the same
error for every cause. A sign-up with the address of an existing account has the same answer as a sign-up with a new
address. The setting `auto_confirm_sign_up` is for development. With this setting, a sign-up reports that the account
exists, because a login after the sign-up would show this fact anyway.
"""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from gameserver.functions.http import HttpError, Request, Response, clean_display_name, clean_email
from gameserver.functions.identity import CognitoError, call, unavailable
from gameserver.functions.services import Services
from gameserver.persistence.tables import TablesUnavailable

log = structlog.get_logger()

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
_RESET_REFUSED = _UNCONFIRMED | {
    "InvalidPasswordException",
    "PasswordHistoryPolicyViolationException",
    "UserNotConfirmedException",
}


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


class ForgotPassword(msgspec.Struct):
    """Describes the body of a request for a code that resets the password.

    Attributes:
        email: e-mail address of the account.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]


class ResetPassword(msgspec.Struct):
    """Describes the body of a reset of the password.

    Attributes:
        email: e-mail address of the account.
        code: code that Cognito has sent to the address.
        password: new password that satisfies the policy of the user pool.
    """

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    code: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


async def sign_up(request: Request, services: Services) -> Response:
    """Answer `POST /v1/signup` with a body `SignUp`: 201 {player_id, confirmed}.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(SignUp)
    await services.login_by_source.take(request.network)
    email = clean_email(body.email)
    name = clean_display_name(body.display_name)
    settings = services.settings
    try:
        answer = await call(
            services,
            lambda: services.aws.cognito.sign_up(
                ClientId=settings.client_id,
                Username=email,
                Password=body.password,
                UserAttributes=[{"Name": "email", "Value": email}],
            ),
        )
    except CognitoError as error:
        if error.code == "CodeDeliveryFailureException":
            # Cognito has created the account, but the mail service refused the mail. The player can ask for a new code.
            log.warning("code_not_sent", code=error.code)
            return _hidden_sign_up()
        if error.code != "UsernameExistsException":
            raise _sign_up_error(error) from error
        if settings.auto_confirm_sign_up:
            raise HttpError(
                409, "account_exists", "an account with this e-mail address exists, log in instead"
            ) from error
        return _hidden_sign_up()
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
    await services.login_by_source.take(request.network)
    await services.confirmation_by_pair.take(request.network, email)
    code = body.code.strip()
    try:
        await call(
            services,
            lambda: services.aws.cognito.confirm_sign_up(
                ClientId=services.settings.client_id, Username=email, ConfirmationCode=code
            ),
        )
    except CognitoError as error:
        if error.code in _UNCONFIRMED:
            message = (
                "the code is wrong or has expired, too many codes were tried, or the account needs no confirmation"
            )
            raise HttpError(400, "invalid_code", message) from error
        raise unavailable(error) from error
    return Response(200, {"confirmed": True})


async def resend_code(request: Request, services: Services) -> Response:
    """Answer `POST /v1/confirm/resend` with a body `ResendCode`: 202 {}.

    If the address has an account that is not confirmed, Cognito sends a new code to the address.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ResendCode)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.mail_by_pair.take(request.network, email)
    try:
        await call(
            services,
            lambda: services.aws.cognito.resend_confirmation_code(ClientId=services.settings.client_id, Username=email),
        )
    except CognitoError as error:
        if error.code not in _UNCONFIRMED:
            raise unavailable(error) from error
        log.info("code_not_sent", code=error.code)
    return Response(202, {})


async def forgot_password(request: Request, services: Services) -> Response:
    """Answer `POST /v1/password/forgot` with a body `ForgotPassword`: 202 {}.

    If the address has a confirmed account, Cognito sends a code to the address.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ForgotPassword.html

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ForgotPassword)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.mail_by_pair.take(request.network, email)
    try:
        await call(
            services,
            lambda: services.aws.cognito.forgot_password(ClientId=services.settings.client_id, Username=email),
        )
    except CognitoError as error:
        if error.code not in _UNCONFIRMED:
            raise unavailable(error) from error
        log.info("code_not_sent", code=error.code)
    return Response(202, {})


async def reset_password(request: Request, services: Services) -> Response:
    """Answer `POST /v1/password/reset` with a body `ResetPassword`: 200 {}. The new password is then valid.

    A wrong code and a new password that does not satisfy the policy have the same answer. Cognito checks the password
    only for an existing account, so a separate answer would show which addresses have an account.
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ConfirmForgotPassword.html

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ResetPassword)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.confirmation_by_pair.take(request.network, email)
    code = body.code.strip()
    try:
        await call(
            services,
            lambda: services.aws.cognito.confirm_forgot_password(
                ClientId=services.settings.client_id, Username=email, ConfirmationCode=code, Password=body.password
            ),
        )
    except CognitoError as error:
        if error.code in _RESET_REFUSED:
            message = (
                "the code is wrong or has expired, too many codes were tried, or the new password does not satisfy the "
                "policy or was used before"
            )
            raise HttpError(400, "reset_refused", message) from error
        raise unavailable(error) from error
    return Response(200, {})


def _hidden_sign_up() -> Response:
    """Return the answer to a sign-up whose account the answer must not show."""
    return Response(201, {"player_id": str(uuid.uuid4()), "confirmed": False})


async def _confirm(services: Services, player_id: str) -> None:
    settings = services.settings
    try:
        await call(
            services,
            lambda: services.aws.cognito.admin_confirm_sign_up(UserPoolId=settings.user_pool_id, Username=player_id),
        )
    except CognitoError as error:
        raise unavailable(error) from error


async def _keep_name(services: Services, player_id: str, name: str) -> None:
    try:
        await services.tables.update_player(player_id, display_name=name)
    except TablesUnavailable as error:
        # The sign-up still succeeds if the display name cannot be stored, because Cognito has created the account and
        # would refuse a second sign-up. The player can set the display name later.
        log.warning("display_name_not_stored", player_id=player_id, cause=str(error))


def _sign_up_error(error: CognitoError) -> HttpError:
    if error.code == "InvalidPasswordException":
        return HttpError(400, "weak_password", error.message or "the password does not satisfy the policy")
    if error.code == "InvalidParameterException":
        return HttpError(400, "invalid_request", "the e-mail address or the password is not acceptable")
    return unavailable(error)
