"""Calls the user pool of Cognito, and converts an error of Cognito to an answer of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from gameserver.functions.http import HttpError, Request
from gameserver.functions.services import Services
from gameserver.runtime.aws import error_code

log = structlog.get_logger()

T = TypeVar("T")
_THROTTLED = frozenset({"TooManyRequestsException", "LimitExceededException", "ThrottlingException"})

# A player whose password an operator has reset (PasswordResetRequiredException) chooses a new password by
# `POST /v1/password/forgot`.
REFUSED = frozenset(
    {
        "InvalidParameterException",
        "NotAuthorizedException",
        "PasswordResetRequiredException",
        "UserNotConfirmedException",
        "UserNotFoundException",
    }
)
"""Error codes of Cognito for a log-in or a token that Cognito does not accept."""


class CognitoError(Exception):
    """Reports a failed call of Cognito.

    Attributes:
        code: error code of Cognito, or "" if Cognito did not answer.
        message: message of Cognito, or the class of the error if Cognito did not answer.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


async def call(services: Services, operation: Callable[[], T]) -> T:
    """Call an operation of Cognito on a thread.

    Raises:
        CognitoError: Cognito refuses the call or does not answer.
    """

    def guarded() -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return operation()
        except ClientError as error:
            raise CognitoError(error_code(error), error.response["Error"].get("Message", "")) from None
        except BotoCoreError as error:
            # The text of botocore's error may contain the parameters of the call, for example a password. Keep only the
            # class name of botocore's error.
            raise CognitoError("", type(error).__name__) from None

    return await services.aws.run(guarded)


def unavailable(error: CognitoError) -> HttpError:
    """Return the answer to a request that Cognito throttled or could not process."""
    if error.code in _THROTTLED:
        return HttpError(429, "too_many_requests", "too many requests, try again later", retry_after_seconds=5)
    log.warning("identity_unavailable", code=error.code, cause=error.message if not error.code else None)
    return HttpError(
        503, "identity_unavailable", "the login service does not answer, try again shortly", retry_after_seconds=2
    )


def context_data(request: Request, path: str) -> dict[str, Any]:
    """Return the data about a player's device that Cognito's threat protection uses.

    Cognito takes the address of a player from the signed operations AdminInitiateAuth and AdminRespondToAuthChallenge,
    also for an app client without a secret. For SignUp and the other unsigned operations, Cognito accepts an address
    only from an app client with a secret:
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ContextDataType.html
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UserPoolClientType.html

    Args:
        request: request of the player.
        path: path of the request's route.
    """
    agent = [{"headerName": "User-Agent", "headerValue": request.user_agent}] if request.user_agent else []
    return {"IpAddress": request.source, "ServerName": "api", "ServerPath": path, "HttpHeaders": agent}


async def check_password(services: Services, user: str, password: str, request: Request, path: str) -> dict[str, Any]:
    """Begin a login, and return Cognito's answer: tokens, or a challenge for a second factor.

    Args:
        services: services of the process.
        user: e-mail address or id of the account.
        password: password of the account.
        request: request of the player.
        path: path of the request's route.

    Raises:
        CognitoError: the code is in `REFUSED` if the password does not fit.
    """
    settings = services.settings
    context: Any = context_data(request, path)
    answer: Any = await call(
        services,
        lambda: services.aws.cognito.admin_initiate_auth(
            UserPoolId=settings.user_pool_id,
            ClientId=settings.client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user, "PASSWORD": password},
            ContextData=context,
        ),
    )
    return dict(answer)


async def check_code(
    services: Services, user_id: str, code: str, session: str, request: Request, path: str
) -> dict[str, Any]:
    """Answer the challenge for a second factor, and return Cognito's answer with the tokens.

    Args:
        services: services of the process.
        user_id: the name that the user pool gave the account, from the challenge. Cognito takes no e-mail address here:
            https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminRespondToAuthChallenge.html
        code: code that the authenticator app shows.
        session: Cognito's session of the login.
        request: request of the player.
        path: path of the request's route.

    Raises:
        CognitoError: the code or the session does not fit.
    """
    settings = services.settings
    context: Any = context_data(request, path)
    answer: Any = await call(
        services,
        lambda: services.aws.cognito.admin_respond_to_auth_challenge(
            UserPoolId=settings.user_pool_id,
            ClientId=settings.client_id,
            ChallengeName="SOFTWARE_TOKEN_MFA",
            ChallengeResponses={"USERNAME": user_id, "SOFTWARE_TOKEN_MFA_CODE": code.strip()},
            Session=session,
            ContextData=context,
        ),
    )
    return dict(answer)
