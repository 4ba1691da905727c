"""AWS's error codes for expired credentials and denied access, which all services share."""

from __future__ import annotations

EXPIRED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # IAM Identity Center answers InvalidGrantException or UnauthorizedException if it cannot renew a session:
        # https://docs.aws.amazon.com/singlesignon/latest/OIDCAPIReference/API_CreateToken.html
        "InvalidGrantException",
        "UnauthorizedException",
    }
)
DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "AuthorizationError",
        "ForbiddenException",
        "IncompleteSignature",
        "InvalidIdentityToken",
        "InvalidToken",
        "NotAuthorized",
        "OptInRequired",
        # S3 answers a HEAD request without a body, so botocore uses the HTTP status as the error code.
        "401",
        "403",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)


def error_code(error: Exception) -> str:
    """Return the code in AWS's answer, or "" if `error` is not an answer of AWS."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
