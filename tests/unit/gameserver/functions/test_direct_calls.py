"""Tests the admission of calls past CloudFront for each answer of KMS, which an emulated AWS cannot cause."""

from __future__ import annotations

import dataclasses
import ipaddress
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from gameserver.functions.direct_calls import DirectCalls
from gameserver.functions.http import HttpError
from gameserver.runtime import operator_pass
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.settings import Settings

SETTINGS = Settings(
    "arena", "test", "eu-west-1", data_key_arn="arn:key", edge_networks=(ipaddress.ip_network("203.0.113.0/24"),)
)
EDGE, STRANGER = "203.0.113.9", "192.0.2.1"


class DecryptingKms:
    """Answers each call of Decrypt with a plaintext or an error, and counts the calls."""

    def __init__(self, answer: bytes | str) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []

    def decrypt(self, **parameters: Any) -> dict[str, bytes]:
        self.calls.append(parameters)
        if self.answer == "timeout":
            raise ConnectTimeoutError(endpoint_url="https://kms")
        if isinstance(self.answer, str):
            raise ClientError({"Error": {"Code": self.answer, "Message": "no"}}, "Decrypt")
        return {"Plaintext": self.answer}


class DecryptingAws:
    def __init__(self, answer: bytes | str) -> None:
        self.kms = DecryptingKms(answer)

    async def run(self, call: Any) -> Any:
        return call()


def door(answer: bytes | str = "timeout", settings: Settings = SETTINGS) -> tuple[DirectCalls, DecryptingKms]:
    aws = DecryptingAws(answer)
    return DirectCalls(settings, aws), aws.kms  # type: ignore[arg-type]


def header(value: bytes = b"encrypted") -> dict[str, str]:
    return {operator_pass.HEADER: operator_pass.encode(value)}


async def refusal(calls: DirectCalls, headers: dict[str, str], peer: str = STRANGER) -> tuple[int, str]:
    with pytest.raises(HttpError) as error:
        await calls.admit(peer, headers)
    return error.value.status, error.value.code


async def test_calls_from_cloudfront_and_calls_in_a_local_region_need_no_pass() -> None:
    calls, kms = door()
    await calls.admit(EDGE, {})
    local, _ = door(settings=dataclasses.replace(SETTINGS, edge_networks=()))
    await local.admit(STRANGER, {})
    assert kms.calls == []


async def test_a_genuine_pass_is_decrypted_once_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    calls, kms = door(operator_pass.plaintext(now + 60))
    for _ in range(3):
        await calls.admit(STRANGER, header())
    context = {"purpose": "operator-pass", "environment": "arena-test", "region": "eu-west-1"}
    assert kms.calls == [{"CiphertextBlob": b"encrypted", "KeyId": "arn:key", "EncryptionContext": context}]
    monkeypatch.setattr("time.time", lambda: now + 61)
    assert await refusal(calls, header()) == (403, "operator_pass_expired")


async def test_a_stranger_does_not_learn_why_a_call_is_refused() -> None:
    too_long = operator_pass.plaintext(time.time() + 2 * operator_pass.LONGEST_SECONDS)
    answers = [await refusal(door()[0], headers) for headers in ({}, {operator_pass.HEADER: "?"})]
    for answer in ("InvalidCiphertextException", "IncorrectKeyException", b"no time", too_long):
        answers.append(await refusal(door(answer)[0], header()))
    assert set(answers) == {(403, "forbidden")}


@pytest.mark.parametrize("answer", ["ThrottlingException", "AccessDeniedException", "timeout"])
async def test_a_key_that_does_not_work_is_no_forged_pass(answer: str) -> None:
    with pytest.raises(KeyUnavailable):
        await door(answer)[0].admit(STRANGER, header())


async def test_a_stranger_cannot_make_a_process_call_kms_for_each_request() -> None:
    calls, kms = door("InvalidCiphertextException")
    answers = [await refusal(calls, header(bytes([number]))) for number in range(40)]
    assert answers.count((429, "too_many_requests")) >= 19
    assert len(kms.calls) <= 21
    # A caller at another address still gets an answer about its pass.
    assert await refusal(calls, header(), peer="198.51.100.7") == (403, "forbidden")
