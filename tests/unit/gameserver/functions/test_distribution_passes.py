"""Tests the decision about passes for each answer of Secrets Manager, and at each time since the last answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from gameserver.functions.distribution_passes import DistributionPasses
from gameserver.runtime.crypto import KeyUnavailable
from gameserver.runtime.distribution_pass import PAUSE_SECONDS, digest, encode

NO_VALUE = "ResourceNotFoundException"


class AnsweringSecretsManager:
    """Answers each read with a text or an error, and counts the reads."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.reads = 0

    def get_secret_value(self, **parameters: Any) -> dict[str, str]:
        assert parameters == {"SecretId": "passes"}
        self.reads += 1
        if self.answer == "timeout":
            raise ConnectTimeoutError(endpoint_url="https://secretsmanager")
        if self.answer.endswith("Exception"):
            raise ClientError({"Error": {"Code": self.answer, "Message": "no"}}, "GetSecretValue")
        return {"SecretString": self.answer} if self.answer else {}


class AnsweringAws:
    def __init__(self, answer: str) -> None:
        self.secrets_manager = AnsweringSecretsManager(answer)

    async def run(self, call: Callable[[], Any]) -> Any:
        return call()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passes(answer: str, *, named: bool = True) -> tuple[DistributionPasses, AnsweringSecretsManager, Clock]:
    aws, clock = AnsweringAws(answer), Clock()
    return DistributionPasses("passes" if named else "", aws, clock), aws.secrets_manager, clock  # type: ignore[arg-type]


def accepting(*values: str) -> str:
    return encode(digest(value) for value in values)


async def test_a_known_pass_is_accepted_with_one_read_of_the_secret() -> None:
    door, manager, _ = passes(accepting("old", "new"))
    assert [await door.refusal(value) for value in ("old", "new", "old")] == ["", "", ""]
    assert manager.reads == 1


async def test_a_request_without_a_pass_and_a_request_with_a_forged_pass_are_refused() -> None:
    door, _, _ = passes(accepting("new"))
    assert await door.refusal("") == "no_distribution_pass"
    assert await door.refusal("forged") == "unknown_distribution_pass"
    # A digest is known to each reader of the secret.
    assert await door.refusal(digest("new")) == "unknown_distribution_pass"


async def test_no_secret_means_no_requirement() -> None:
    door, manager, _ = passes("timeout", named=False)
    assert await door.refusal("") == ""
    assert manager.reads == 0


@pytest.mark.parametrize("no_value", [NO_VALUE, "", encode([])])
async def test_a_secret_without_a_value_requires_no_pass_until_it_has_a_value(no_value: str) -> None:
    door, manager, clock = passes(no_value)
    assert await door.refusal("") == ""
    manager.answer = accepting("first")
    clock.now += 29
    assert await door.refusal("") == ""
    clock.now += 2
    assert await door.refusal("") == "no_distribution_pass"
    assert await door.refusal("first") == ""


async def test_an_unknown_pass_reads_the_secret_again_so_that_a_new_pass_is_accepted_at_once() -> None:
    door, manager, clock = passes(accepting("old"))
    assert await door.refusal("old") == ""
    manager.answer = accepting("old", "new")
    clock.now += PAUSE_SECONDS + 0.1
    assert await door.refusal("new") == ""
    assert manager.reads == 2


async def test_forged_passes_cannot_make_a_process_read_the_secret_for_each_request() -> None:
    door, manager, clock = passes(accepting("new"))
    for number in range(100):
        assert await door.refusal(f"forged{number}") == "unknown_distribution_pass"
        clock.now += 0.1
    assert manager.reads <= 3


async def test_a_replaced_pass_ends_at_every_process() -> None:
    door, manager, clock = passes(accepting("old"))
    assert await door.refusal("old") == ""
    manager.answer = accepting("new")
    clock.now += 301
    assert await door.refusal("old") == "unknown_distribution_pass"


@pytest.mark.parametrize("answer", ["timeout", "AccessDeniedException", "{}"])
async def test_a_process_that_cannot_read_the_secret_answers_no_player_and_keeps_what_it_knows(answer: str) -> None:
    door, manager, clock = passes(answer)
    with pytest.raises(KeyUnavailable):
        await door.refusal("new")
    manager.answer = accepting("new")
    assert await door.refusal("new") == ""
    manager.answer = answer
    clock.now += 301
    assert await door.refusal("new") == ""
    assert await door.refusal("forged") == "unknown_distribution_pass"
