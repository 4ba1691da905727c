"""Codes in AWS's answers that mean the same whichever service gives them."""

from __future__ import annotations

EXPIRED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # IAM Identity Center, when it renews a session:
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
        # S3 answers a HEAD request with the bare status.
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
    """The code in AWS's answer, "" for an error of another kind."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
