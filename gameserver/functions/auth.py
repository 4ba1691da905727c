"""Signs players up, confirms their addresses and resets their passwords, with a user pool of Cognito.

No answer of these functions shows whether an e-mail address has an account. A failed confirmation or reset has the same
error for every cause. A sign-up with the address of an existing account has the same answer as a sign-up with a new
address. An answer after which a player may get a mail takes an equal time for every address. The setting
`auto_confirm_sign_up` is for development. With this setting, a sign-up reports that the account exists, because a login
after the sign-up would show this fact anyway.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from gameserver.functions import accounts
from gameserver.functions.account_codes import CodePurpose
from gameserver.functions.accounts import PlayerAccount
from gameserver.functions.http import HttpError, Request, Response, clean_display_name, clean_email
from gameserver.functions.identity import CognitoError, unavailable
from gameserver.functions.services import Services
from gameserver.persistence.tables import TablesUnavailable
from gameserver.runtime.crypto import KeyUnavailable

log = structlog.get_logger()

# Errors of Cognito for a new password that a player cannot use:
# https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserPassword.html
_PASSWORD_REFUSED = frozenset(
    {"InvalidParameterException", "InvalidPasswordException", "PasswordHistoryPolicyViolationException"}
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
        code: code of the mail to the address.
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
        code: code of the mail to the address.
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
    confirmed = services.settings.auto_confirm_sign_up
    begun = time.monotonic()
    try:
        policy = await accounts.password_policy(services)
        if fault := policy.fault(body.password):
            raise HttpError(400, "weak_password", fault)
        player_id = await accounts.create_account(services, email, body.password, verified=confirmed)
    except CognitoError as error:
        if error.code != "UsernameExistsException":
            raise _sign_up_error(error) from error
        if confirmed:
            raise HttpError(
                409, "account_exists", "an account with this e-mail address exists, log in instead"
            ) from error
        # The random id hides the id of the existing account.
        hidden = Response(201, {"player_id": str(uuid.uuid4()), "confirmed": False})
        return await _in_equal_time(services, begun, hidden)
    await _keep_name(services, player_id, name)
    answer = Response(201, {"player_id": player_id, "confirmed": confirmed})
    if confirmed:
        return answer
    if await _may_mail(services, email):
        try:
            code = await services.codes.issue(CodePurpose.CONFIRMATION, player_id, email)
        except KeyUnavailable as error:
            # The account exists already, and the player can ask for a code later.
            log.warning("code_not_sent", cause=str(error))
        else:
            await services.mailer.send_code(CodePurpose.CONFIRMATION, email, code)
    return await _in_equal_time(services, begun, answer)


async def confirm(request: Request, services: Services) -> Response:
    """Answer `POST /v1/confirm` with a body `Confirm`: 200 {confirmed}. The player can then log in.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(Confirm)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.confirmation_by_pair.take(request.network, email)
    try:
        account = await accounts.find_account(services, email)
        # The function computes a code also for an address without an account, so that both answers take equal time.
        fits = await services.codes.fits(CodePurpose.CONFIRMATION, _id_of(account), email, body.code)
        if not fits or account is None or not account.awaits_confirmation:
            raise HttpError(
                400, "invalid_code", "the code is wrong or has expired, or the account needs no confirmation"
            )
        await accounts.confirm_account(services, account)
    except CognitoError as error:
        raise unavailable(error) from error
    return Response(200, {"confirmed": True})


async def resend_code(request: Request, services: Services) -> Response:
    """Answer `POST /v1/confirm/resend` with a body `ResendCode`: 202 {}.

    If the address has an account that is not confirmed, the player gets a mail with a code.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ResendCode)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.mail_by_pair.take(request.network, email)
    begun = time.monotonic()
    try:
        account = await accounts.find_account(services, email)
    except CognitoError as error:
        raise unavailable(error) from error
    if await _may_mail(services, email):
        code = await services.codes.issue(CodePurpose.CONFIRMATION, _id_of(account), email)
        if account is not None and account.awaits_confirmation:
            await services.mailer.send_code(CodePurpose.CONFIRMATION, email, code)
    return await _in_equal_time(services, begun, Response(202, {}))


async def forgot_password(request: Request, services: Services) -> Response:
    """Answer `POST /v1/password/forgot` with a body `ForgotPassword`: 202 {}.

    If the address has a confirmed account, the player gets a mail with a code.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ForgotPassword)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.mail_by_pair.take(request.network, email)
    begun = time.monotonic()
    try:
        account = await accounts.find_account(services, email)
    except CognitoError as error:
        raise unavailable(error) from error
    if await _may_mail(services, email):
        code = await services.codes.issue(CodePurpose.RESET, _id_of(account), email, _state_of(account))
        if account is not None and account.may_reset:
            await services.mailer.send_code(CodePurpose.RESET, email, code)
    return await _in_equal_time(services, begun, Response(202, {}))


async def reset_password(request: Request, services: Services) -> Response:
    """Answer `POST /v1/password/reset` with a body `ResetPassword`: 200 {}. The new password is then valid.

    A reset also ends all log-ins of the player. A wrong code and a new password that does not satisfy the policy have
    the same answer. Only the holder of the right code learns from the answer that the account exists.

    Raises:
        HttpError: the answer to a request that fails.
    """
    body = request.json(ResetPassword)
    email = clean_email(body.email)
    await services.login_by_source.take(request.network)
    await services.confirmation_by_pair.take(request.network, email)
    try:
        account = await accounts.find_account(services, email)
        fits = await services.codes.fits(CodePurpose.RESET, _id_of(account), email, body.code, _state_of(account))
        if not fits or account is None or not account.may_reset:
            raise _reset_refused()
        await accounts.set_password(services, account.player_id, body.password)
        # A stranger who has logged in with the old password must not stay logged in.
        await accounts.revoke_log_ins(services, account.player_id)
    except CognitoError as error:
        if error.code in _PASSWORD_REFUSED:
            raise _reset_refused() from error
        raise unavailable(error) from error
    return Response(200, {})


def _id_of(account: PlayerAccount | None) -> str:
    return account.player_id if account else ""


def _state_of(account: PlayerAccount | None) -> str:
    """Return the text that a reset of the password changes, so that each code works once."""
    return account.changed_at if account else ""


async def _may_mail(services: Services, email: str) -> bool:
    """Count a mail to an address. Return False if the address has got enough mails, or if the process sends no mail."""
    if not services.mailer.enabled:
        log.info("code_not_sent", cause="no_sender")
        return False
    try:
        await services.mail_by_account.take(email)
    except HttpError:
        log.info("code_not_sent", cause="mail_limit")
        return False
    return True


async def _in_equal_time(services: Services, begun: float, answer: Response) -> Response:
    """Return an answer when the time of an answer with a mail has passed, so that the time does not show a mail."""
    if services.mailer.enabled:
        await asyncio.sleep(max(0.0, begun + services.mail_answer_seconds - time.monotonic()))
    return answer


def _reset_refused() -> HttpError:
    return HttpError(
        400,
        "reset_refused",
        "the code is wrong or has expired, or the new password does not satisfy the policy or was used before",
    )


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
