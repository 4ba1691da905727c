"""Missing, expired, broken and denied credentials: the one place that recognises them and says what to do.

Every caller of boto3 asks here first, so that such an error is never taken for a network that is down.
"""

from __future__ import annotations

import os
import re
from types import TracebackType

from mjctl.clients.error_codes import DENIED_CODES, EXPIRED_CODES, error_code
from mjctl.models.errors import PermissionDeniedError

_SIGN_IN = "sign in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_SSO = "sign in again: `aws sso login` (with `--profile NAME` if you use another profile than `default`)"
_SETTINGS = "correct it; `aws configure list` shows which values are in use and where they come from"
# What botocore raises before a request leaves: https://github.com/boto/botocore/blob/develop/botocore/exceptions.py
_ADVICE = {
    "ConfigNotFound": _SETTINGS,
    "ConfigParseError": _SETTINGS,
    "CredentialRetrievalError": "run the command that `credential_process` names in ~/.aws/config, and correct it",
    "InfiniteLoopConfigError": _SETTINGS,
    "InvalidConfigError": _SETTINGS,
    "InvalidIMDSEndpointError": _SETTINGS,
    "LoginError": "sign in again: `aws login`",
    "MetadataRetrievalError": "give the instance or the task a role, or sign in (`aws sso login`)",
    "MissingDependencyException": "install the package that is named, or use another kind of credentials",
    "NoAuthTokenError": _SSO,
    "NoCredentialsError": _SIGN_IN,
    "PartialCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY both, or neither",
    "ProfileNotFound": "set AWS_PROFILE to a profile that `aws configure list-profiles` lists, or unset it",
    "RefreshWithMFAUnsupportedError": _SIGN_IN,
    "SSOError": _SSO,
    "TokenRetrievalError": _SSO,
    "UnknownCredentialError": _SETTINGS,
}
# Errors of a connection. They can occur while credentials are fetched, and are none of them.
_CONNECTION = frozenset({"ConnectionError", "HTTPClientError"})
# Any other exception that leaves these modules comes from broken credentials: botocore lets through what, for example,
# a `credential_process` causes that does not exist or prints no JSON.
_CREDENTIAL_MODULES = frozenset({"botocore.credentials", "botocore.tokens", "botocore.configloader"})
_LONGEST_REASON = 300


def refusal(error: Exception, where: str) -> PermissionDeniedError | None:
    """Return what `error` means if AWS does not accept, or does not get, the caller's credentials; None otherwise."""
    return _by_code(error, where) if error_code(error) else _by_kind(error, where)


def _by_code(error: Exception, where: str) -> PermissionDeniedError | None:
    """AWS answered, and refused."""
    code, text = error_code(error), _reason(error)
    renew = "get a fresh one (`aws sso login`, or the pipeline's log-in step), then repeat the command"
    if code in EXPIRED_CODES:
        return PermissionDeniedError(f"the AWS session has expired: {text}", where=where, hint=renew)
    if code == "400":
        # S3 answers HEAD without a body, so the code is lost. An expired token is a 400, see "ExpiredToken" in
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        what = f"AWS refused the call, most likely because the session has expired: {text}"
        return PermissionDeniedError(what, where=where, hint=renew)
    what = f"AWS refused the call: {text}"
    if code == "RequestTimeTooSkewed":
        return PermissionDeniedError(what, where=where, hint="set this machine's clock: AWS allows a few minutes")
    if code in DENIED_CODES:
        advice = "check which identity you use (`aws sts get-caller-identity`) and what it may do"
        return PermissionDeniedError(what, where=where, hint=advice)
    return None


def _by_kind(error: Exception, where: str) -> PermissionDeniedError | None:
    """The request did not leave this machine."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "botocore.exceptions"]
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), None)
    if advice is not None:
        what = f"no AWS credentials can be used: {_reason(error)}"
        return PermissionDeniedError(what, where=where, hint=advice)
    if not _CONNECTION & set(names) and _passed_through_credentials(error.__traceback__):
        return PermissionDeniedError(
            f"no AWS credentials can be used: {type(error).__name__} while they were read",
            where=f"{where}, profile {os.environ.get('AWS_PROFILE', 'default')}",
            hint="check `credential_process` and the profile in ~/.aws/config: `aws sts get-caller-identity` must work",
        )
    return None


def _reason(error: Exception) -> str:
    """The first lines of an error, bounded: a `credential_process` may write anything to its stderr."""
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _passed_through_credentials(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") in _CREDENTIAL_MODULES:
            return True
        traceback = traceback.tb_next
    return False


# As Terraform's AWS provider and S3 backend word them; the codes are AWS's own.
_TERRAFORM_EXPIRED = re.compile(
    r"ExpiredToken|RequestExpired|session has expired|token has expired|refresh cached (SSO )?(token|credentials)"
)
_TERRAFORM_MISSING = re.compile(
    r"No valid credential sources|failed to get shared config profile|InvalidClientTokenId|InvalidAccessKeyId"
    r"|UnrecognizedClientException|SignatureDoesNotMatch|no EC2 IMDS role found"
)
_TERRAFORM_DENIED = re.compile(r"AccessDenied|UnauthorizedOperation|is not authorized to perform|AuthorizationError")


def terraform_advice(text: str) -> str | None:
    """Return what to do if Terraform failed because of credentials; None if it failed for another reason."""
    if _TERRAFORM_EXPIRED.search(text):
        return "the AWS session has expired: get a fresh one (`aws sso login`), then repeat the command"
    if _TERRAFORM_MISSING.search(text):
        return f"no AWS credentials can be used: {_SIGN_IN}"
    if _TERRAFORM_DENIED.search(text):
        return "check which identity you use (`aws sts get-caller-identity`) and what it may do"
    return None
