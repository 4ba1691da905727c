"""Defines the operator's pass, with which mjctl calls the API by a name that leads past CloudFront and its firewall.

A pass is a text that KMS has encrypted. To make a pass, a caller must have the permission to encrypt with the
environment's key and the pass's encryption context. IAM can restrict a permission to an encryption context:
https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
A pass is valid for one environment and region, until the time that the text names.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

HEADER: Final = "x-operator-pass"
"""Name of the HTTP header with the pass, in lower case."""

LONGEST_SECONDS: Final = 3600.0
"""Longest lifetime of a pass. The functions refuse a pass that expires later."""

_MAX_CHARACTERS = 1024


def context(project: str, environment: str, region: str) -> dict[str, str]:
    """Return the encryption context of a region's passes, without which KMS does not decrypt a pass."""
    return {"purpose": "operator-pass", "environment": f"{project}-{environment}", "region": region}


def plaintext(expires_at: float) -> bytes:
    """Return the text to encrypt for a pass that expires at `expires_at`, in seconds since 1970."""
    return str(int(expires_at)).encode()


def expiry(decrypted: bytes) -> float:
    """Return the expiry of a pass, in seconds since 1970, from the decrypted text.

    Raises:
        ValueError: the text names no time.
    """
    return float(int(decrypted))


def encode(encrypted: bytes) -> str:
    """Return the header's value for a text that KMS has encrypted."""
    return base64.urlsafe_b64encode(encrypted).decode()


def decode(header: str) -> bytes:
    """Return the encrypted text in a header.

    Raises:
        ValueError: the header does not have the form of a pass.
    """
    if not 0 < len(header) <= _MAX_CHARACTERS:
        raise ValueError("the length is not the length of a pass")
    try:
        return base64.b64decode(header.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("the text is not base64") from error
