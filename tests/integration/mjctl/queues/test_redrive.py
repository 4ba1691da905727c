"""Tests redrives in which SQS rejects messages or calls, and the splitting of batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError
from mjctl.queues.redrive import MAX_BATCH_BYTES, batches, message_bytes, redrive

from .conftest import bury

Call = Callable[..., Any]


def drain(sqs: Any, url: str) -> list[str]:
    """Return the bodies of all visible messages of a queue, without deleting them."""
    bodies: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return sorted(bodies)


async def refuse_odd(forward: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    """Accept the entries whose body ends in an even digit and reject the others, in the same answer."""
    entries = parameters["Entries"]
    good = [entry for entry in entries if int(entry["MessageBody"][-1]) % 2 == 0]
    answer = await forward(Entries=good) if good else {}
    failed = [
        {"Id": entry["Id"], "SenderFault": True, "Code": "InvalidMessageContents", "Message": "odd"}
        for entry in entries
        if entry not in good
    ]
    return {**answer, "Failed": failed}


async def test_a_message_is_deleted_only_after_the_queue_has_accepted_that_message(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    queue = contract.queues["persistence"]
    bury(sqs, contract, [f"m{number}" for number in range(8)])
    intercept("send_message_batch", refuse_odd)
    result = await redrive(contract, "persistence", per_second=1000)
    assert (result.moved, result.failed, result.not_deleted, result.remaining) == (4, 4, 0, 4)
    assert result.refusals == ("InvalidMessageContents: odd",)
    # The messages that SQS rejected are visible again at once, and not only after the visibility timeout of 60 seconds.
    assert drain(sqs, queue.dead_letter.url) == ["m1", "m3", "m5", "m7"]
    assert drain(sqs, queue.url) == ["m0", "m2", "m4", "m6"]


async def test_rejected_messages_do_not_delay_other_messages(contract: Contract, sqs: Any, intercept: Any) -> None:
    bury(sqs, contract, [f"m{number}" for number in (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 2, 4)])
    intercept("send_message_batch", refuse_odd)
    result = await redrive(contract, "persistence", per_second=1000)
    assert (result.moved, result.failed) == (2, 12)
    assert drain(sqs, contract.queues["persistence"].url) == ["m2", "m4"]


async def test_a_call_that_fails_releases_every_message_that_was_not_sent(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    bury(sqs, contract, [f"m{number}" for number in range(6)])

    async def away(*_: Any) -> None:
        raise UnreachableError("no answer")

    intercept("send_message_batch", away)
    with pytest.raises(UnreachableError):
        await redrive(contract, "persistence", per_second=1000)
    assert len(drain(sqs, contract.queues["persistence"].dead_letter.url)) == 6


async def test_ctrl_c_releases_every_message_that_was_not_sent(contract: Contract, sqs: Any, intercept: Any) -> None:
    bury(sqs, contract, [f"m{number}" for number in range(6)])
    sending = asyncio.Event()

    async def hang(*_: Any) -> None:
        sending.set()
        await asyncio.Event().wait()

    intercept("send_message_batch", hang)
    running = asyncio.create_task(redrive(contract, "persistence", per_second=1000))
    await sending.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(drain(sqs, contract.queues["persistence"].dead_letter.url)) == 6


async def test_a_message_that_cannot_be_deleted_is_sent_once_and_counted(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    bury(sqs, contract, ["m0", "m1"])

    async def refuse(_forward: Call, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in parameters["Entries"]]}

    calls = intercept("delete_message_batch", refuse)
    result = await redrive(contract, "persistence", per_second=1000)
    assert (result.moved, result.failed, result.not_deleted, result.remaining) == (0, 0, 2, 2)
    assert len(calls) == 2, "the deletion is repeated once"
    assert drain(sqs, contract.queues["persistence"].url) == ["m0", "m1"]


async def test_eight_messages_of_200_kb_are_sent_in_separate_calls(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    bury(sqs, contract, [f"{number}{'x' * 200_000}" for number in range(8)])

    async def send(forward: Call, _parameters: dict[str, Any]) -> Any:
        return await forward()

    calls = intercept("send_message_batch", send)
    result = await redrive(contract, "persistence", per_second=1000)
    assert (result.moved, result.failed, result.remaining) == (8, 0, 0)
    assert all(sum(len(entry["MessageBody"]) for entry in call["Entries"]) <= MAX_BATCH_BYTES for call in calls)


async def test_a_message_that_is_too_large_does_not_stop_other_messages(
    contract: Contract, sqs: Any, intercept: Any
) -> None:
    # SQS rejects the whole request, and not only the entry, if a message is larger than the limit.
    bury(sqs, contract, ["large", *(f"m{number}" for number in range(5))])

    async def limited(forward: Call, parameters: dict[str, Any]) -> Any:
        if any(entry["MessageBody"] == "large" for entry in parameters["Entries"]):
            raise UnreachableError("AWS answered with BatchRequestTooLong: Batch requests cannot be longer than 262144")
        return await forward()

    intercept("send_message_batch", limited)
    result = await redrive(contract, "persistence", per_second=1000)
    assert (result.moved, result.failed) == (5, 1)
    assert "TooLong" in result.refusals[0]
    assert drain(sqs, contract.queues["persistence"].dead_letter.url) == ["large"]


async def test_a_dry_run_receives_no_message(contract: Contract, sqs: Any, intercept: Any) -> None:
    bury(sqs, contract, ["m0", "m1", "m2"])

    async def receive(*_: Any) -> None:
        pytest.fail("a dry run must not receive: each receive counts as a delivery")

    intercept("receive_message", receive)
    result = await redrive(contract, "persistence", limit=2, dry_run=True)
    assert (result.moved, result.remaining, result.dry_run) == (2, 3, True)


def message(body: str, **attributes: dict[str, Any]) -> dict[str, Any]:
    return {"MessageId": body[:8], "Body": body, "MessageAttributes": attributes}


def test_batches_stay_below_the_limits_of_count_and_bytes() -> None:
    small = [message("x") for _ in range(23)]
    assert [len(batch) for batch in batches(small)] == [10, 10, 3]
    assert [len(batch) for batch in batches([message("x" * 60_000) for _ in range(10)])] == [4, 4, 2]
    mixed = [message("x"), message("x" * 900_000), message("x")]
    assert [len(batch) for batch in batches(mixed)] == [1, 1, 1]
    assert list(batches([])) == []


def test_the_size_of_a_message_includes_attributes_and_counts_bytes() -> None:
    assert message_bytes(message("é")) == 2
    assert message_bytes(message("x", k={"DataType": "Binary", "BinaryValue": b"1234"})) == 1 + 1 + 6 + 4
    assert message_bytes(message("\ud800")) == 3


def test_redrive_asks_for_approval_and_a_dry_run_does_not(mjctl: Any, contract: Contract, sqs: Any) -> None:
    bury(sqs, contract, ["m0", "m1"])
    refused = mjctl("queue", "redrive", "persistence", "--all-regions")
    assert refused.code == 12
    assert "2 dead-letter messages" in refused.err
    (dry,) = mjctl("queue", "redrive", "persistence", "--all-regions", "--dry-run", "-o", "json").json()["regions"]
    assert (dry["moved"], dry["dry_run"]) == (2, True)
    assert (
        "2 dead-letter messages would be sent"
        in mjctl("queue", "redrive", "persistence", "-r", contract.region, "--dry-run").out
    )


async def test_redrive_ends_with_14_and_names_the_reason_of_a_rejection(
    mjctl: Any, contract: Contract, sqs: Any, intercept: Any
) -> None:
    bury(sqs, contract, ["m1", "m2"])
    intercept("send_message_batch", refuse_odd)
    ran = await asyncio.to_thread(mjctl, "queue", "redrive", "persistence", "--all-regions", "--yes")
    assert ran.code == 14
    assert "1 sent again, 1 refused" in ran.out
    assert "InvalidMessageContents: odd" in ran.err
