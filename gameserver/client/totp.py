"""Computes the codes that an authenticator app shows (RFC 6238, with SHA-1, six digits and steps of 30 seconds)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

_STEP_SECONDS = 30


def totp(secret: str, now: float | None = None) -> str:
    """Return the code of an authenticator app.

    Args:
        secret: the app's secret in base 32, as `GameClient.enrol_second_factor` returns it.
        now: the time in seconds since 1970; None for the current time.
    """
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    step = int((time.time() if now is None else now) // _STEP_SECONDS)
    digest = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06d}"
