"""Tests the codes of an authenticator app with the test values of RFC 6238, appendix B."""

from __future__ import annotations

import base64

import pytest

from gameserver.client.totp import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp(SECRET, seconds) == code


def test_a_secret_may_have_lower_case_letters_and_no_padding() -> None:
    assert totp("mzxw6ytb", 0) == totp("MZXW6YTB", 0)
    assert len(totp("MZXW6YTBOI")) == 6
