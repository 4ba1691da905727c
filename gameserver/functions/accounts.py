"""Finds, creates and changes players' accounts by Cognito's operations for servers.

The user pool and its web ACL refuse the operations by which strangers or thieves of an access token could change an
account at Cognito itself. The functions of this module use only operations that need AWS credentials:
https://docs.aws.amazon.com/cognito/latest/developerguide/authentication-flows-public-server-side.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import structlog

from gameserver.functions.identity import CognitoError, call
from gameserver.functions.password_policy import PasswordPolicy
from gameserver.functions.services import Services

log = structlog.get_logger()

# AdminCreateUser and AdminSetUserPassword are two calls. An account without a password is incomplete after this time,
# which is longer than the time limit of the function `auth`.
_COMPLETION_SECONDS = 30.0
# https://docs.aws.amazon.com/cognito/latest/developerguide/signing-up-users-in-your-app.html
_CONFIRMED, _RESET_REQUIRED, _UNCONFIRMED = "CONFIRMED", "RESET_REQUIRED", "UNCONFIRMED"
_INCOMPLETE = "FORCE_CHANGE_PASSWORD"


@dataclass(frozen=True)
class PlayerAccount:
    """Describes an account in the user pool.

    Attributes:
        player_id: id of the player.
        status: status of the account in Cognito.
        enabled: False if an operator has disabled the account.
        verified: True if the player has proved to read the mail to the account's address.
        created_at: Unix time of the account's creation in seconds.
        changed_at: text that differs after each change of the account.
    """

    player_id: str
    status: str
    enabled: bool
    verified: bool
    created_at: float
    changed_at: str

    @property
    def awaits_confirmation(self) -> bool:
        """Return whether the player must confirm the address. Cognito's SignUp left the status UNCONFIRMED before."""
        return self.enabled and not self.verified and self.status in (_CONFIRMED, _UNCONFIRMED)

    @property
    def may_reset(self) -> bool:
        """Return whether the player may choose a new password with a code from a mail."""
        return self.enabled and self.verified and self.status in (_CONFIRMED, _RESET_REQUIRED)

    @property
    def is_incomplete(self) -> bool:
        """Return whether a sign-up has ended before the account had a password."""
        waited = time.time() - self.created_at > _COMPLETION_SECONDS
        return waited and not self.verified and self.status == _INCOMPLETE


async def find_account(services: Services, email: str) -> PlayerAccount | None:
    """Return the account of an e-mail address, or None if the address has no account.

    Raises:
        CognitoError: Cognito throttles the call or does not answer.
    """
    try:
        user: Any = await _admin(services, "admin_get_user", Username=email)
    except CognitoError as error:
        if error.code == "UserNotFoundException":
            return None
        raise
    attributes = {attribute["Name"]: attribute.get("Value", "") for attribute in user["UserAttributes"]}
    return PlayerAccount(
        player_id=attributes["sub"],
        status=user["UserStatus"],
        enabled=bool(user["Enabled"]),
        verified=attributes.get("email_verified", "").lower() == "true",
        created_at=user["UserCreateDate"].timestamp(),
        changed_at=user["UserLastModifiedDate"].isoformat(),
    )


async def create_account(services: Services, email: str, password: str, *, verified: bool) -> str:
    """Create an account with a password, and return the id of the player. Cognito sends no mail.

    An account without a password, which an earlier sign-up has left behind, gets the password.

    Raises:
        CognitoError: the code is `UsernameExistsException` if the address has an account, and
            `InvalidPasswordException` if the policy of the user pool refuses the password. Then no account is left.
    """
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": str(verified).lower()}]
    try:
        answer = await _admin(
            services, "admin_create_user", Username=email, UserAttributes=attributes, MessageAction="SUPPRESS"
        )
        player_id = next(str(part["Value"]) for part in answer["User"]["Attributes"] if part["Name"] == "sub")
    except CognitoError as error:
        account = await find_account(services, email) if error.code == "UsernameExistsException" else None
        if account is None or not account.is_incomplete:
            raise
        log.info("sign_up_completed", player_id=account.player_id)
        player_id = account.player_id
    try:
        await set_password(services, player_id, password)
    except CognitoError as error:
        if error.code in ("InvalidParameterException", "InvalidPasswordException"):
            await _admin(services, "admin_delete_user", Username=player_id)
        raise
    return player_id


async def confirm_account(services: Services, account: PlayerAccount) -> None:
    """Mark the address of an account as verified, so that the player can log in.

    Raises:
        CognitoError: Cognito throttles a call or does not answer.
    """
    if account.status == _UNCONFIRMED:
        # AdminConfirmSignUp does not verify the address:
        # https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminConfirmSignUp.html
        await _admin(services, "admin_confirm_sign_up", Username=account.player_id)
    verified = [{"Name": "email_verified", "Value": "true"}]
    await _admin(services, "admin_update_user_attributes", Username=account.player_id, UserAttributes=verified)


async def set_password(services: Services, player_id: str, password: str) -> None:
    """Set the password of an account.

    Raises:
        CognitoError: the policy of the user pool refuses the password, or Cognito does not answer.
    """
    await _admin(services, "admin_set_user_password", Username=player_id, Password=password, Permanent=True)


async def set_second_factor(services: Services, player_id: str, *, enabled: bool) -> None:
    """Switch the second factor of an account on or off.

    The web ACL of the user pool blocks SetUserMFAPreference, which needs only an access token:
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminSetUserMFAPreference.html

    Raises:
        CognitoError: Cognito throttles the call or does not answer.
    """
    preference: dict[str, bool] = {"Enabled": enabled, "PreferredMfa": enabled}
    await _admin(services, "admin_set_user_mfa_preference", Username=player_id, SoftwareTokenMfaSettings=preference)


async def revoke_log_ins(services: Services, player_id: str) -> None:
    """Revoke the refresh tokens of all log-ins of a player.

    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminUserGlobalSignOut.html

    Raises:
        CognitoError: Cognito throttles the call or does not answer.
    """
    await _admin(services, "admin_user_global_sign_out", Username=player_id)


async def password_policy(services: Services) -> PasswordPolicy:
    """Return the policy of the user pool. The process reads the policy once.

    Raises:
        CognitoError: Cognito throttles the call or does not answer.
    """
    if services.password_policy is None:
        services.password_policy = PasswordPolicy.of_pool(await _admin(services, "describe_user_pool"))
    return services.password_policy


async def _admin(services: Services, operation: str, **parameters: Any) -> Any:
    pool = services.settings.user_pool_id
    return await call(services, lambda: getattr(services.aws.cognito, operation)(UserPoolId=pool, **parameters))
