"""Recognises errors of missing, expired, broken and denied AWS credentials, and gives the operator's next step.

Every caller of boto3 checks an exception with `refusal` first, so that an error of credentials is never reported as a
network failure.
"""

from __future__ import annotations

import os
import re
from types import TracebackType

from mjctl.clients.error_codes import DENIED_CODES, EXPIRED_CODES, error_code
from mjctl.models.errors import PermissionDeniedError

_SIGN_IN = "sign in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_SSO = "sign in again: `aws sso login` (with `--profile NAME` if you use another profile than `default`)"
_SETTINGS = "correct this setting; `aws configure list` shows the values in use and where they come from"
# The advice for errors that botocore raises before it sends a request, by the class of the error:
# https://github.com/boto/botocore/blob/develop/botocore/exceptions.py
_ADVICE = {
    "ConfigNotFound": _SETTINGS,
    "ConfigParseError": _SETTINGS,
    "CredentialRetrievalError": "run the command in `credential_process` of ~/.aws/config by hand, and correct it",
    "InfiniteLoopConfigError": _SETTINGS,
    "InvalidConfigError": _SETTINGS,
    "InvalidIMDSEndpointError": _SETTINGS,
    "LoginError": "sign in again: `aws login`",
    "MetadataRetrievalError": "give the instance or the task a role, or sign in (`aws sso login`)",
    "MissingDependencyException": "install the package in the message, or use another kind of credentials",
    "NoAuthTokenError": _SSO,
    "NoCredentialsError": _SIGN_IN,
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or unset both",
    "ProfileNotFound": "set AWS_PROFILE to a profile that `aws configure list-profiles` lists, or unset it",
    "RefreshWithMFAUnsupportedError": _SIGN_IN,
    "SSOError": _SSO,
    "TokenRetrievalError": _SSO,
    "UnknownCredentialError": _SETTINGS,
}
# botocore can raise a connection error while it fetches credentials, but broken credentials do not cause the error.
_CONNECTION = frozenset({"ConnectionError", "HTTPClientError"})
# An exception that passes through botocore's modules for credentials is caused by broken credentials, unless it is a
# connection error. An example is the exception of a `credential_process` that does not exist or prints no JSON, which
# botocore does not convert.
_CREDENTIAL_MODULES = frozenset({"botocore.credentials", "botocore.tokens", "botocore.configloader"})
_LONGEST_REASON = 300


def refusal(error: Exception, where: str) -> PermissionDeniedError | None:
    """Return the error for operators if `error` is caused by the caller's AWS credentials, else None.

    Args:
        error: The exception of boto3.
        where: The place for the error: environment, region and operation.
    """
    return _by_code(error, where) if error_code(error) else _by_kind(error, where)


def _by_code(error: Exception, where: str) -> PermissionDeniedError | None:
    """Return the error for operators if AWS refused the credentials in its answer, else None."""
    code, text = error_code(error), _reason(error)
    renew = "start a new session (`aws sso login`, or the pipeline's log-in step), then repeat the command"
    if code in EXPIRED_CODES:
        return PermissionDeniedError(f"the AWS session has expired: {text}", where=where, hint=renew)
    if code == "400":
        # S3 answers a HEAD request without a body, so only the HTTP status is known. S3's error `ExpiredToken` has the
        # status 400: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        what = f"AWS refused the call, most likely because the session has expired: {text}"
        return PermissionDeniedError(what, where=where, hint=renew)
    what = f"AWS refused the call: {text}"
    if code == "RequestTimeTooSkewed":
        hint = "set this machine's clock, which may differ from AWS's by a few minutes only"
        return PermissionDeniedError(what, where=where, hint=hint)
    if code in DENIED_CODES:
        advice = "check your identity (`aws sts get-caller-identity`) and its permissions"
        return PermissionDeniedError(what, where=where, hint=advice)
    return None


def _by_kind(error: Exception, where: str) -> PermissionDeniedError | None:
    """Return the error for operators if botocore found no usable credentials and sent no request, else None."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "botocore.exceptions"]
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), None)
    if advice is not None:
        what = f"no AWS credentials can be used: {_reason(error)}"
        return PermissionDeniedError(what, where=where, hint=advice)
    if not _CONNECTION & set(names) and _passed_through_credentials(error.__traceback__):
        return PermissionDeniedError(
            f"no AWS credentials can be used: reading them failed with {type(error).__name__}",
            where=f"{where}, profile {os.environ.get('AWS_PROFILE', 'default')}",
            hint="check `credential_process` and the profile in ~/.aws/config: `aws sts get-caller-identity` must work",
        )
    return None


def _reason(error: Exception) -> str:
    """Return at most 300 characters of an error's text, because a `credential_process` may write a lot to stderr."""
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _passed_through_credentials(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") in _CREDENTIAL_MODULES:
            return True
        traceback = traceback.tb_next
    return False


# Words and AWS error codes in the errors of Terraform's AWS provider and S3 backend that mean a fault of credentials.
_TERRAFORM_EXPIRED = re.compile(
    r"ExpiredToken|RequestExpired|session has expired|token has expired|refresh cached (SSO )?(token|credentials)"
)
_TERRAFORM_MISSING = re.compile(
    r"No valid credential sources|failed to get shared config profile|InvalidClientTokenId|InvalidAccessKeyId"
    r"|UnrecognizedClientException|SignatureDoesNotMatch|no EC2 IMDS role found"
)
_TERRAFORM_DENIED = re.compile(r"AccessDenied|UnauthorizedOperation|is not authorized to perform|AuthorizationError")


def terraform_advice(text: str) -> str | None:
    """Return the operator's next step if Terraform failed because of AWS credentials, else None.

    Args:
        text: The errors that Terraform printed.
    """
    if _TERRAFORM_EXPIRED.search(text):
        return "the AWS session has expired: start a new session (`aws sso login`), then repeat the command"
    if _TERRAFORM_MISSING.search(text):
        return f"no AWS credentials can be used: {_SIGN_IN}"
    if _TERRAFORM_DENIED.search(text):
        return "check your identity (`aws sts get-caller-identity`) and its permissions"
    return None
