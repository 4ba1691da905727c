"""Tests the codes in mails with HMACs of Python in place of KMS."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gameserver.functions.account_codes import DIGITS, AccountCodes, CodePurpose
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

SETTINGS = Settings("arena", "test", "eu-west-1", code_key_arn="arn:aws:kms:us-east-1:123456789012:key/codes")
RESET, CONFIRMATION = CodePurpose.RESET, CodePurpose.CONFIRMATION
EMAIL = "ada@example.com"


class MacKms:
    """Makes HMACs with a fixed key."""

    def __init__(self) -> None:
        self.error = ""

    def generate_mac(self, **parameters: Any) -> dict[str, bytes]:
        if self.error:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "GenerateMac")
        assert (parameters["KeyId"], parameters["MacAlgorithm"]) == (SETTINGS.code_key_arn, "HMAC_SHA_256")
        return {"Mac": hmac.digest(b"key", parameters["Message"], hashlib.sha256)}


class MacAws:
    def __init__(self) -> None:
        self.code_kms = MacKms()

    async def run(self, call: Any) -> Any:
        return call()


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws() -> MacAws:
    return MacAws()


@pytest.fixture
def codes(aws: MacAws, clock: Clock) -> AccountCodes:
    return AccountCodes(SETTINGS, aws, clock=clock)  # type: ignore[arg-type]


async def test_a_code_has_twelve_digits_in_groups(codes: AccountCodes) -> None:
    code = await codes.issue(RESET, "id", EMAIL)
    assert re.fullmatch(r"\d{4} \d{4} \d{4}", code)
    assert DIGITS == 12
    assert await codes.fits(RESET, "id", EMAIL, code)
    assert await codes.fits(RESET, "id", EMAIL, f" {code.replace(' ', '-')} ")


async def test_a_code_fits_only_one_purpose_account_address_and_state(codes: AccountCodes, clock: Clock) -> None:
    # The periods of all purposes have equal numbers at this time, so that only the purpose itself differs.
    clock.now = 0.0
    code = await codes.issue(RESET, "id", EMAIL, "state")
    assert await codes.fits(RESET, "id", EMAIL, code, "state")
    for purpose, account, email, state in (
        (CONFIRMATION, "id", EMAIL, "state"),
        (RESET, "other", EMAIL, "state"),
        (RESET, "id", "eve@example.com", "state"),
        (RESET, "id", EMAIL, "changed"),
        (RESET, "", EMAIL, "state"),
    ):
        assert not await codes.fits(purpose, account, email, code, state)


@pytest.mark.parametrize("purpose", CodePurpose)
async def test_a_code_is_valid_for_its_time_and_at_most_twice_as_long(
    codes: AccountCodes, clock: Clock, purpose: CodePurpose
) -> None:
    start = clock.now
    code = await codes.issue(purpose, "id", EMAIL)
    clock.now = start + purpose.value
    assert await codes.fits(purpose, "id", EMAIL, code)
    clock.now = start + 2 * purpose.value
    assert not await codes.fits(purpose, "id", EMAIL, code)


@pytest.mark.parametrize("code", ["", "1", "1" * 11, "1" * 13, "a" * 12, "\u0661" * 12])
async def test_a_text_that_is_no_code_is_refused_without_a_call(codes: AccountCodes, aws: MacAws, code: str) -> None:
    aws.code_kms.error = "ThrottlingException"
    assert not await codes.fits(RESET, "id", EMAIL, code)


async def test_without_an_answer_of_kms_no_code_is_valid(codes: AccountCodes, aws: MacAws) -> None:
    code = await codes.issue(RESET, "id", EMAIL)
    aws.code_kms.error = "DisabledException"
    with pytest.raises(KeyUnavailable, match="DisabledException"):
        await codes.fits(RESET, "id", EMAIL, code)


async def test_without_a_key_no_code_is_valid(aws: MacAws) -> None:
    codes = AccountCodes(Settings("arena", "test", "eu-west-1"), aws)  # type: ignore[arg-type]
    assert not await codes.fits(RESET, "id", EMAIL, "1" * 12)
    with pytest.raises(KeyUnavailable):
        await codes.issue(RESET, "id", EMAIL)
