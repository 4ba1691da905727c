from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mjctl.models.contract import Contract
from mjctl.models.errors import NotFoundError
from mjctl.queues.dead_letters import peek
from mjctl.queues.operations import list_queues, purge
from mjctl.queues.redrive import redrive


@pytest.fixture
def bury(sqs: Any, contract: Contract) -> Callable[[int], list[str]]:
    """Return a function that puts a number of messages into the dead-letter queue, and returns their bodies."""

    def put(count: int) -> list[str]:
        bodies = [
            json.dumps({"event_id": f"m:{number}", "type": "player.joined", "payload": {"display_name": "Ann"}})
            for number in range(count)
        ]
        for body in bodies:
            sqs.send_message(
                QueueUrl=contract.queues["persistence"].dead_letter.url,
                MessageBody=body,
                MessageAttributes={"kind": {"DataType": "String", "StringValue": "event"}},
            )
        return bodies

    return put


async def test_list_counts_waiting_and_failed_messages(
    contract: Contract, sqs: Any, bury: Callable[[int], list[str]]
) -> None:
    bury(2)
    sqs.send_message(QueueUrl=contract.queues["persistence"].url, MessageBody="x")
    (row,) = await list_queues(contract)
    assert (row.name, row.waiting, row.in_flight, row.dead_letters) == ("persistence", 1, 0, 2)
    assert row.max_receive_count == contract.queues["persistence"].max_receive_count


async def test_the_age_of_the_oldest_message_of_an_empty_queue_is_zero(contract: Contract) -> None:
    (row,) = await list_queues(contract)
    assert row.oldest_age_seconds == 0.0


async def test_peek_shows_the_events_of_a_message(contract: Contract, sqs: Any) -> None:
    event = {"event_id": "m:1", "type": "player.joined"}
    for events in ([event], [event, event, {"event_id": "n:1", "type": "match.started"}], "no event"):
        url = contract.queues["persistence"].dead_letter.url
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(events))
    messages = await peek(contract, "persistence", limit=10)
    labels = {(message.event_id, message.event_type) for message in messages}
    assert labels == {("m:1", "player.joined"), ("m:1 +2", "several"), (None, None)}


async def test_peek_removes_no_message(contract: Contract, bury: Callable[[int], list[str]]) -> None:
    bodies = bury(12)
    messages = await peek(contract, "persistence", limit=100)
    assert sorted(message.body for message in messages) == sorted(bodies)
    assert {message.event_type for message in messages} == {"player.joined"}
    assert len(await peek(contract, "persistence", limit=100)) == 12
    assert len(await peek(contract, "persistence", limit=3)) == 3


async def test_redrive_moves_every_message_once_with_its_attributes(
    contract: Contract, sqs: Any, bury: Callable[[int], list[str]]
) -> None:
    bodies = bury(12)
    reported: list[int] = []
    result = await redrive(contract, "persistence", per_second=1000, on_progress=reported.append)
    assert (result.moved, result.failed, result.remaining) == (12, 0, 0)
    assert reported == sorted(reported)
    arrived: list[Any] = []
    while len(arrived) < 12:
        arrived += sqs.receive_message(
            QueueUrl=contract.queues["persistence"].url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=2,
            MessageAttributeNames=["All"],
        )["Messages"]
    assert sorted(message["Body"] for message in arrived) == sorted(bodies)
    assert {message["MessageAttributes"]["kind"]["StringValue"] for message in arrived} == {"event"}


async def test_redrive_stops_at_its_limit(contract: Contract, bury: Callable[[int], list[str]]) -> None:
    bury(5)
    result = await redrive(contract, "persistence", limit=2, per_second=1000)
    assert (result.moved, result.remaining) == (2, 3)


async def test_purge_deletes_only_the_messages_of_the_dead_letter_queue(
    contract: Contract, sqs: Any, bury: Callable[[int], list[str]]
) -> None:
    bury(3)
    sqs.send_message(QueueUrl=contract.queues["persistence"].url, MessageBody="alive")
    assert await purge(contract, "persistence", dry_run=True) == 3
    assert await purge(contract, "persistence", dry_run=False) == 3
    (row,) = await list_queues(contract)
    assert (row.waiting, row.dead_letters) == (1, 0)


async def test_the_error_for_an_unknown_queue_lists_the_queues(contract: Contract) -> None:
    with pytest.raises(NotFoundError) as unknown:
        await peek(contract, "nosuch", limit=1)
    assert "persistence" in (unknown.value.hint or "")
