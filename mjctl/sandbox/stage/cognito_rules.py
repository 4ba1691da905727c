"""Corrections of ministack's Cognito: random codes that expire, limits of attempts, and the quota of mail.

AWS documents the rules of Cognito for codes, attempts and mail at:
https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
https://docs.aws.amazon.com/cognito/latest/developerguide/signing-up-users-in-your-app.html
https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pool-managing-errors.html
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import cognito

from mjctl.sandbox.correction import ministack_correction, wrap

Handler = Callable[..., Any]

_HOUR, _DAY = 3600.0, 86_400.0
# The seconds for which a code is valid, by the name under which ministack stores the code in a user's record.
CODE_SECONDS = {"_confirmation_code": _DAY, "_reset_code": _HOUR}
# AWS allows a user 5 to 20 attempts to request or enter a code within an hour. The higher the risk that AWS sees in a
# request, the fewer attempts it allows. The stage always allows 5 attempts.
CODE_ATTEMPTS = 5
# After 5 consecutive wrong passwords, Cognito locks the account for 1 s. Each further wrong password doubles the time,
# up to 15 minutes.
PASSWORD_ATTEMPTS = 5
LONGEST_LOCK_SECONDS = 900.0
# The number of mails that Cognito sends in a day if a user pool does not use Amazon SES. The day of the quota begins at
# 09:00 UTC.
DAILY_MAILS = 50
_QUOTA_HOUR = 9

_ATTEMPTS_EXCEEDED = "Attempt limit exceeded, please try after some time."
_MAIL_EXCEEDED = (
    "Exceeded daily email limit for the operation or the account. If a higher limit is required, please configure your "
    "user pool to use your own Amazon SES configuration for sending email."
)
_NO_RECOVERY = "Cannot reset password for the user as there is no registered/verified email or phone_number"
_SENDING = ("SignUp", "ResendConfirmationCode", "ForgotPassword", "AdminCreateUser", "AdminResetUserPassword")
_PASSWORD_FLOWS = ("USER_PASSWORD_AUTH", "ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH")

# The times at which the user pools of each account have sent mails since 09:00 UTC, in seconds since 1970.
_sent: dict[str, list[float]] = {}


def quota_day(now: float) -> float:
    """Return the start of the mail quota's day that contains the time `now`.

    Both the start and `now` are in seconds since 1970.
    """
    begin = datetime.fromtimestamp(now, UTC).replace(hour=_QUOTA_HOUR, minute=0, second=0, microsecond=0).timestamp()
    return begin if begin <= now else begin - _DAY


def lock_seconds(failures: int) -> float:
    """Return the seconds for which an account is locked after `failures` consecutive wrong passwords."""
    if failures < PASSWORD_ATTEMPTS:
        return 0.0
    return min(LONGEST_LOCK_SECONDS, 2.0 ** (failures - PASSWORD_ATTEMPTS))


def expire(user: dict[str, Any], kind: str, now: float) -> None:
    """Remove a user's code if the code has expired, so that ministack answers ExpiredCodeException.

    Args:
        user: ministack's record of the user.
        kind: `_confirmation_code` or `_reset_code`.
        now: The time, in seconds since 1970.
    """
    if now - user.get(f"{kind}_at", now) > CODE_SECONDS[kind]:
        user.pop(kind, None)


def attempt(user: dict[str, Any], kind: str, now: float) -> bool:
    """Count an attempt to request or to enter a code. Returns: False if the user has no attempt left in this hour."""
    recent = [moment for moment in user.get(f"{kind}_attempts", []) if now - moment < _HOUR]
    if len(recent) >= CODE_ATTEMPTS:
        user[f"{kind}_attempts"] = recent
        return False
    user[f"{kind}_attempts"] = [*recent, now]
    return True


def _user(pool: dict[str, Any] | None, name: Any) -> dict[str, Any]:
    user = cognito._resolve_user(pool, name)[0] if pool else None
    return user or {}


def _pool(data: dict[str, Any]) -> dict[str, Any] | None:
    if data.get("UserPoolId"):
        pool: dict[str, Any] | None = cognito._user_pools.get(data["UserPoolId"])
        return pool
    return cognito._pool_for_client(data.get("ClientId"))[0]  # type: ignore[no-any-return]


def _attributes(user: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = cognito._attr_list_to_dict(user.get("Attributes", []))
    return attributes


def _verify_email(user: dict[str, Any], pool: dict[str, Any]) -> None:
    attributes = _attributes(user)
    if "email" in attributes and "email" in (pool.get("AutoVerifiedAttributes") or []):
        user["Attributes"] = cognito._dict_to_attr_list({**attributes, "email_verified": "true"})


def _random_codes() -> None:
    def make_send(original: Handler) -> Handler:
        def send(pool: Any, username: Any, attributes: Any, _code: str, attribute_name: str = "email") -> Any:
            kind = "_reset_code" if attribute_name == "password" else "_confirmation_code"
            code = f"{secrets.randbelow(10**6):06}"
            user = _user(pool, username)
            user.update({kind: code, f"{kind}_at": time.time()})
            return original(pool, username, attributes, code, attribute_name=attribute_name)

        return send

    def make_sign_up(original: Handler) -> Handler:
        def sign_up(data: dict[str, Any]) -> Any:
            status, headers, body = original(data)
            if status != 200:
                return status, headers, body
            user = _user(_pool(data), data.get("Username"))
            if "_confirmation_code_at" not in user:
                # Without an e-mail address, Cognito sent no code, so ministack's fixed code must not work.
                user.pop("_confirmation_code", None)
            answer = json.loads(body)
            if "CodeDeliveryDetails" in answer:
                details = answer["CodeDeliveryDetails"]
                details["Destination"] = cognito._masked_destination(details["Destination"])
            return status, headers, json.dumps(answer).encode()

        return sign_up

    wrap(cognito, "_send_verification_email", make_send)
    wrap(cognito, "_sign_up", make_sign_up)


def _code_limits() -> None:
    def make_check(original: Handler) -> Handler:
        def check(action: str, data: dict[str, Any]) -> Any:
            kinds = {
                "ConfirmForgotPassword": "_reset_code",
                "ConfirmSignUp": "_confirmation_code",
                "ForgotPassword": "_reset_code",
                "ResendConfirmationCode": "_confirmation_code",
            }
            kind = kinds.get(action)
            user = _user(_pool(data), data.get("Username")) if kind else {}
            if kind and user:
                if not attempt(user, kind, time.time()):
                    return cognito.error_response_json("LimitExceededException", _ATTEMPTS_EXCEEDED, 400)
                expire(user, kind, time.time())
            return original(action, data)

        return check

    wrap(cognito, "_confirmation_code_error", make_check)


def _closed_pools() -> None:
    """Refuse the sign-up and the reset of a password without AWS credentials, if the user pool does not allow them.

    https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-admin-create-user-policy.html
    https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ForgotPassword.html
    """

    def make_sign_up(original: Handler) -> Handler:
        def sign_up(data: dict[str, Any]) -> Any:
            if ((_pool(data) or {}).get("AdminCreateUserConfig") or {}).get("AllowAdminCreateUserOnly"):
                message = "SignUp is not permitted for this user pool"
                return cognito.error_response_json("NotAuthorizedException", message, 400)
            return original(data)

        return sign_up

    def make_recover(original: Handler) -> Handler:
        def recover(data: dict[str, Any]) -> Any:
            setting = (_pool(data) or {}).get("AccountRecoverySetting") or {}
            if any(mechanism.get("Name") == "admin_only" for mechanism in setting.get("RecoveryMechanisms") or ()):
                message = "Contact administrator to reset password."
                return cognito.error_response_json("NotAuthorizedException", message, 400)
            return original(data)

        return recover

    wrap(cognito, "_sign_up", make_sign_up)
    wrap(cognito, "_forgot_password", make_recover)
    wrap(cognito, "_admin_reset_user_password", make_recover)


def _recovery() -> None:
    def make_confirm(original: Handler) -> Handler:
        def confirm(data: dict[str, Any]) -> Any:
            answer = original(data)
            pool = _pool(data)
            user = _user(pool, data.get("Username"))
            if answer[0] == 200 and user and pool:
                _verify_email(user, pool)
            return answer

        return confirm

    def make_forgot(original: Handler) -> Handler:
        def forgot(data: dict[str, Any]) -> Any:
            pool = _pool(data)
            user = _user(pool, data.get("Username"))
            if not user or not pool:
                return original(data)
            reachable = str(_attributes(user).get("email_verified", "")).lower() == "true" and user.get("Enabled", True)
            if reachable:
                return original(data)
            if cognito._hides_user_existence(pool, data.get("ClientId")):
                return cognito._code_delivery_response(cognito._masked_destination(data.get("Username")))
            return cognito.error_response_json("InvalidParameterException", _NO_RECOVERY, 400)

        return forgot

    def make_resend(original: Handler) -> Handler:
        def resend(data: dict[str, Any]) -> Any:
            if _user(_pool(data), data.get("Username")).get("UserStatus", "UNCONFIRMED") != "UNCONFIRMED":
                return cognito.error_response_json("InvalidParameterException", "User is already confirmed.", 400)
            return original(data)

        return resend

    wrap(cognito, "_confirm_sign_up", make_confirm)
    wrap(cognito, "_confirm_forgot_password", make_confirm)
    wrap(cognito, "_forgot_password", make_forgot)
    wrap(cognito, "_resend_confirmation_code", make_resend)


def _password_lock() -> None:
    def make(original: Handler) -> Handler:
        def run(handler: Handler, action: str, data: dict[str, Any]) -> Any:
            if not action.endswith("InitiateAuth") or data.get("AuthFlow") not in _PASSWORD_FLOWS:
                return original(handler, action, data)
            user = _user(_pool(data), (data.get("AuthParameters") or {}).get("USERNAME"))
            now = time.time()
            if user and now < user.get("_locked_until", 0.0):
                return cognito.error_response_json("NotAuthorizedException", "Password attempts exceeded", 400)
            answer = original(handler, action, data)
            if user and answer[0] == 200:
                user["_wrong_passwords"] = 0
            elif user and b"Incorrect username or password" in answer[2]:
                user["_wrong_passwords"] = user.get("_wrong_passwords", 0) + 1
                user["_locked_until"] = now + lock_seconds(user["_wrong_passwords"])
            return answer

        return run

    wrap(cognito, "_run_idp_handler", make)


def _uses_own_sender(pool: dict[str, Any] | None) -> bool:
    return (
        ((pool or {}).get("EmailConfiguration") or {}).get("EmailSendingAccount") or "COGNITO_DEFAULT"
    ) == "DEVELOPER"


def _mail_quota() -> None:
    def make_deliver(original: Handler) -> Handler:
        def deliver(pool: Any, *arguments: Any, **options: Any) -> Any:
            if not _uses_own_sender(pool):
                now = time.time()
                recent = [moment for moment in _sent.get(get_account_id(), []) if moment >= quota_day(now)]
                _sent[get_account_id()] = [*recent, now]
            return original(pool, *arguments, **options)

        return deliver

    def make_run(original: Handler) -> Handler:
        def run(handler: Handler, action: str, data: dict[str, Any]) -> Any:
            sends = action in _SENDING and str(data.get("MessageAction", "")).upper() != "SUPPRESS"
            begin = quota_day(time.time())
            count = sum(moment >= begin for moment in _sent.get(get_account_id(), []))
            if sends and count >= DAILY_MAILS and not _uses_own_sender(_pool(data)):
                return cognito.error_response_json("LimitExceededException", _MAIL_EXCEEDED, 400)
            return original(handler, action, data)

        return run

    wrap(cognito, "_deliver_cognito_email", make_deliver)
    wrap(cognito, "_run_idp_handler", make_run)


CORRECTIONS = (
    ministack_correction(
        "cognito-code-limits", "Cognito's codes never expire, and allow any number of attempts", _code_limits
    ),
    ministack_correction("cognito-mail-quota", "Cognito sends any number of mails without Amazon SES", _mail_quota),
    ministack_correction("cognito-password-lock", "Cognito allows any number of wrong passwords", _password_lock),
    ministack_correction("cognito-random-codes", "Cognito's codes are always 123456 and 654321", _random_codes),
    ministack_correction(
        "cognito-recovery",
        "Cognito does not verify an address by a code, and resets passwords by addresses that were never verified",
        _recovery,
    ),
    # The checks of a closed pool come before the checks of the other corrections.
    ministack_correction(
        "cognito-closed-pool",
        "Cognito lets strangers sign up and reset passwords in a user pool that allows only administrators to do so",
        _closed_pools,
    ),
)
"""Corrections that only the stage applies, because only the stage runs ministack with the setting AUTH=true.

Without AUTH=true, ministack does not check codes.
"""
