"""Looking at queues, and dealing with dead letters."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mjctl.aws.clients import AwsClients
from mjctl.aws.queues import oldest_message_seconds, queue_depth, receive, release
from mjctl.models.contract import Contract, Queue
from mjctl.models.errors import NotFoundError

# Longer than sending ten messages ever takes, so that nobody else gets them in between.
_HOLD_SECONDS = 60
_MAX_PEEK = 1000


@dataclass(frozen=True)
class QueueRow:
    """One queue. `oldest_age_seconds` is None where the service does not tell."""

    name: str
    waiting: int
    in_flight: int
    oldest_age_seconds: float | None
    dead_letters: int
    max_receive_count: int
    url: str


@dataclass(frozen=True)
class DeadLetter:
    """One message that was delivered `max_receive_count` times in vain. `body` may hold players' names.

    A message may hold several events: then `event_id` is the first's and how many more there are, and `event_type`
    their common one or "several".
    """

    message_id: str
    event_id: str | None
    event_type: str | None
    sent_at: float
    deliveries: int
    size_bytes: int
    body: str


@dataclass(frozen=True)
class RedriveResult:
    """`moved` went back to the queue; `failed` are still dead letters; `remaining` is SQS's approximate count."""

    moved: int
    failed: int
    remaining: int


async def list_queues(contract: Contract) -> list[QueueRow]:
    """Depth, age and dead letters of every queue of one region."""
    with AwsClients(contract) as clients:

        async def row(name: str, queue: Queue) -> QueueRow:
            depth, dead = await asyncio.gather(
                queue_depth(clients, queue.url), queue_depth(clients, queue.dead_letter.url)
            )
            age = await oldest_message_seconds(clients, queue.arn, depth)
            return QueueRow(name, depth.waiting, depth.in_flight, age, dead.total, queue.max_receive_count, queue.url)

        return list(await asyncio.gather(*(row(name, queue) for name, queue in contract.queues.items())))


async def peek(contract: Contract, name: str, *, limit: int) -> list[DeadLetter]:
    """Look at up to `limit` dead letters and give them back; they stay where they are.

    Raises:
        NotFoundError: the region has no such queue.
    """
    url = _queue(contract, name).dead_letter.url
    with AwsClients(contract) as clients:
        messages = await receive(clients, url, limit=min(limit, _MAX_PEEK), hold_seconds=_HOLD_SECONDS)
        await release(clients, url, messages)
    return [_dead_letter(message) for message in messages]


async def redrive(
    contract: Contract,
    name: str,
    *,
    limit: int | None = None,
    per_second: float = 50.0,
    on_progress: Callable[[int], None] | None = None,
) -> RedriveResult:
    """Send dead letters to their queue again, at most as many as there are now, at `per_second`.

    A letter is deleted only after the queue has taken it: interrupted in between it is delivered twice, which the
    persistence function tolerates, and none is lost. (SQS's own move task tells neither pace nor failures.)

    Raises:
        NotFoundError: the region has no such queue.
    """
    queue = _queue(contract, name)
    dead = queue.dead_letter.url
    moved = failed = 0
    with AwsClients(contract) as clients:
        # A letter that fails again returns here while we work; without this bound it would go round for ever.
        goal = (await queue_depth(clients, dead)).total
        goal = goal if limit is None else min(goal, limit)
        started = time.monotonic()
        while moved + failed < goal:
            batch = await receive(clients, dead, limit=min(10, goal - moved - failed), hold_seconds=_HOLD_SECONDS)
            if not batch:
                break
            taken = await _resend(clients, queue.url, dead, batch)
            moved, failed = moved + taken, failed + len(batch) - taken
            if on_progress is not None:
                on_progress(moved)
            await asyncio.sleep(max(0.0, started + moved / per_second - time.monotonic()))
        remaining = (await queue_depth(clients, dead)).total
    return RedriveResult(moved, failed, remaining)


async def purge(contract: Contract, name: str, *, dry_run: bool) -> int:
    """Delete every dead letter of a queue; the number there was. SQS allows it once a minute.

    Raises:
        NotFoundError: the region has no such queue.
    """
    url = _queue(contract, name).dead_letter.url
    with AwsClients(contract) as clients:
        there = (await queue_depth(clients, url)).total
        if not dry_run:
            await clients.call("sqs", "purge_queue", QueueUrl=url)
    return there


async def _resend(clients: AwsClients, queue_url: str, dead_url: str, batch: list[dict[str, Any]]) -> int:
    by_id = {str(number): message for number, message in enumerate(batch)}
    sent = await clients.call(
        "sqs",
        "send_message_batch",
        QueueUrl=queue_url,
        Entries=[
            {
                "Id": entry,
                "MessageBody": message["Body"],
                "MessageAttributes": {
                    key: {part: value for part, value in attribute.items() if part in _ATTRIBUTE_PARTS}
                    for key, attribute in message.get("MessageAttributes", {}).items()
                },
            }
            for entry, message in by_id.items()
        ],
    )
    taken = [by_id[item["Id"]] for item in sent.get("Successful", [])]
    refused = [by_id[item["Id"]] for item in sent.get("Failed", [])]
    if taken:
        await clients.call(
            "sqs",
            "delete_message_batch",
            QueueUrl=dead_url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(taken)
            ],
        )
    await release(clients, dead_url, refused)
    return len(taken)


_ATTRIBUTE_PARTS = frozenset({"DataType", "StringValue", "BinaryValue"})


def _queue(contract: Contract, name: str) -> Queue:
    try:
        return contract.queues[name]
    except KeyError:
        raise NotFoundError(
            f"no queue `{name}`",
            where=f"{contract.environment}, {contract.region}",
            hint=f"queues: {', '.join(contract.queues)}",
        ) from None


def _dead_letter(message: dict[str, Any]) -> DeadLetter:
    body = str(message["Body"])
    events = _events(body)
    ids, types = [event.get("event_id") for event in events], {event.get("type") for event in events}
    attributes = message.get("Attributes", {})
    return DeadLetter(
        message_id=message["MessageId"],
        event_id=f"{ids[0]} +{len(ids) - 1}" if len(ids) > 1 else next(iter(ids), None),
        event_type="several" if len(types) > 1 else next(iter(types), None),
        sent_at=int(attributes.get("SentTimestamp", 0)) / 1000,
        deliveries=int(attributes.get("ApproximateReceiveCount", 0)),
        size_bytes=len(body.encode()),
        body=body,
    )


def _events(body: str) -> list[dict[str, Any]]:
    """The JSON objects in a body that holds one event or an array of them; none if it is something else."""
    try:
        decoded = json.loads(body)
    except ValueError:
        return []
    return [event for event in (decoded if isinstance(decoded, list) else [decoded]) if isinstance(event, dict)]
