"""Reads the depth of SQS queues and the age of their messages, and receives messages without deleting them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.models.errors import MjctlError

_ATTRIBUTES = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


@dataclass(frozen=True)
class QueueDepth:
    """Counts the messages of a queue. The counts of SQS are approximate.

    Attributes:
        waiting: The number of messages that a reader can receive.
        in_flight: The number of messages that a reader has received and that SQS hides from other readers.
        delayed: The number of messages that SQS delivers later.
    """

    waiting: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """Return the number of all messages of the queue."""
        return self.waiting + self.in_flight + self.delayed


async def queue_depth(clients: RegionClients, url: str) -> QueueDepth:
    """Return the numbers of waiting, received and delayed messages of the queue `url`."""
    answer = await clients.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=_ATTRIBUTES)
    waiting, in_flight, delayed = (int(answer["Attributes"].get(name, 0)) for name in _ATTRIBUTES)
    return QueueDepth(waiting, in_flight, delayed)


async def oldest_message_seconds(clients: RegionClients, arn: str, depth: QueueDepth) -> float | None:
    """Return the age of a queue's oldest message in seconds, as CloudWatch reports it.

    SQS reports the age of a message only to a reader that receives the message, which counts as a delivery.

    Returns:
        0 for an empty queue; None if CloudWatch returns no value, as on an emulated AWS.
    """
    if depth.total == 0:
        return 0.0
    now = datetime.now(UTC)
    try:
        answer = await clients.call(
            "cloudwatch",
            "get_metric_statistics",
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": arn.rsplit(":", 1)[-1]}],
            StartTime=now - timedelta(minutes=10),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    except MjctlError:
        return None
    points: list[dict[str, Any]] = sorted(answer.get("Datapoints", []), key=lambda point: point["Timestamp"])
    return float(points[-1]["Maximum"]) if points else None


async def receive(clients: RegionClients, url: str, *, limit: int, hold_seconds: int) -> list[dict[str, Any]]:
    """Receive up to `limit` messages and hide them from other readers for `hold_seconds`.

    If a call to SQS fails, the messages that were already received become visible to other readers again.

    Returns:
        The messages as SQS returns them, fewer than `limit` if the queue has no more messages.
    """
    messages: list[dict[str, Any]] = []
    try:
        await _receive_into(messages, clients, url, limit, hold_seconds)
    except BaseException:
        with suppress(MjctlError):
            await release(clients, url, messages)
        raise
    return messages


async def _receive_into(
    messages: list[dict[str, Any]], clients: RegionClients, url: str, limit: int, hold_seconds: int
) -> None:
    while len(messages) < limit:
        answer = await clients.call(
            "sqs",
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=min(10, limit - len(messages)),
            VisibilityTimeout=hold_seconds,
            # A request that waits (long polling) reads all hosts of SQS. A request without a wait reads some hosts
            # only, and may miss messages.
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
        )
        batch = answer.get("Messages", [])
        if not batch:
            return
        messages.extend(batch)


async def release(clients: RegionClients, url: str, messages: list[dict[str, Any]]) -> None:
    """Make received messages visible to other readers at once."""
    await asyncio.gather(
        *(
            clients.call(
                "sqs",
                "change_message_visibility_batch",
                QueueUrl=url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                    for number, message in enumerate(messages[start : start + 10])
                ],
            )
            for start in range(0, len(messages), 10)
        )
    )
