"""Redrives messages: sends the messages of a dead-letter queue again to the queue from which they came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mjctl.clients.boto import RegionClients
from mjctl.clients.queues import queue_depth, receive, release
from mjctl.models.contract import Contract, Queue
from mjctl.models.errors import MjctlError
from mjctl.queues.operations import HOLD_SECONDS, find_queue

# SendMessageBatch accepts 10 entries and, since August 2025, 1 MiB (1,048,576 bytes) in total.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html has the limits. Some
# AWS partitions and emulators still enforce the earlier limit of SQS, 256 KiB (262,144 bytes). A batch of a
# redrive therefore stays below 256 KiB, and a message above 250,000 bytes is sent alone.
MAX_BATCH_MESSAGES = 10
MAX_BATCH_BYTES = 250_000
_ATTRIBUTE_PARTS = frozenset({"DataType", "StringValue", "BinaryValue"})


@dataclass(frozen=True)
class RedriveResult:
    """Describes the result of a redrive.

    Attributes:
        moved: number of messages that the original queue accepted and that were deleted from the dead-letter queue. In
            a dry run `moved` is the number of messages that a redrive would send.
        failed: number of messages that the original queue rejected, and that stay in the dead-letter queue.
        remaining: SQS's approximate number of messages in the dead-letter queue after the redrive.
        not_deleted: number of messages that are in the original queue and also in the dead-letter queue now, because
            they could not be deleted from the dead-letter queue. The persistence function tolerates a second delivery
            of a message.
        refusals: the distinct reasons that SQS gave for rejecting messages.
        dry_run: True if the messages were only counted.
    """

    moved: int
    failed: int
    remaining: int
    not_deleted: int = 0
    refusals: tuple[str, ...] = ()
    dry_run: bool = False


async def count_dead(contract: Contract, name: str) -> int:
    """Return SQS's approximate number of messages in a queue's dead-letter queue.

    Raises:
        NotFoundError: the region has no queue `name`.
    """
    with RegionClients(contract) as clients:
        return (await queue_depth(clients, find_queue(contract, name).dead_letter.url)).total


async def redrive(
    contract: Contract,
    name: str,
    *,
    limit: int | None = None,
    per_second: float = 50.0,
    dry_run: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> RedriveResult:
    """Send the messages of a dead-letter queue to their original queue again.

    A message is deleted from the dead-letter queue only after the original queue has accepted the message, so a redrive
    loses no message. A message that was sent and not yet deleted when the redrive was interrupted is in both queues,
    and the persistence function tolerates a second delivery. The redrive does not use StartMessageMoveTask of SQS,
    because that call does not report which messages failed.

    Args:
        contract: the region's contract.
        name: name of the queue in the contract.
        limit: maximum number of messages to send; None for all messages that are in the dead-letter queue at the start.
        per_second: maximum number of messages that are sent in a second.
        dry_run: True to count the messages and send none.
        on_progress: receives the number of messages that were moved so far.

    Raises:
        NotFoundError: the region has no queue `name`.
        UnreachableError: SQS stopped answering, and the messages that were not sent stay in the dead-letter queue.
        PermissionDeniedError: AWS denies access to the queues.
    """
    queue = find_queue(contract, name)
    with RegionClients(contract) as clients:
        # Handle at most `goal` messages, because a message that fails again returns to the dead-letter queue during the
        # redrive, and the redrive would send it again without end.
        dead = (await queue_depth(clients, queue.dead_letter.url)).total
        goal = dead if limit is None else min(dead, limit)
        if dry_run:
            return RedriveResult(goal, 0, dead, dry_run=True)
        run = _Redrive(clients, queue, goal)
        try:
            await run.work(per_second, on_progress)
        finally:
            # Ignore an error of SQS, because the messages that the redrive has hidden become visible to other readers
            # after HOLD_SECONDS in any case.
            with suppress(MjctlError):
                await release(clients, queue.dead_letter.url, list(run.held.values()))
        remaining = (await queue_depth(clients, queue.dead_letter.url)).total
        return RedriveResult(run.moved, len(run.refused), remaining, len(run.not_deleted), tuple(sorted(run.refusals)))


def batches(messages: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Split messages into batches, each of which fits into one call of SendMessageBatch by count and by bytes."""
    batch: list[dict[str, Any]] = []
    size = 0
    for message in messages:
        more = message_bytes(message)
        if batch and (len(batch) == MAX_BATCH_MESSAGES or size + more > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += more
    if batch:
        yield batch


def message_bytes(message: dict[str, Any]) -> int:
    """Return the bytes of a message as SQS counts them: the body, and the name, type and value of each attribute."""
    size = len(message["Body"].encode("utf-8", "surrogatepass"))
    for name, attribute in message.get("MessageAttributes", {}).items():
        size += len(name.encode()) + len(attribute.get("DataType", "").encode())
        size += len(attribute.get("StringValue", "").encode("utf-8", "surrogatepass"))
        size += len(attribute.get("BinaryValue", b""))
    return size


@dataclass
class _Redrive:
    """Holds the state of a redrive of one queue.

    Attributes:
        goal: maximum number of messages that the redrive handles.
        moved: number of messages that were sent to the original queue and deleted from the dead-letter queue.
        held: messages of the dead-letter queue that the redrive hides from other readers, by message id.
        refused: ids of the messages that the original queue rejected. Rejected messages stay hidden until the redrive
            ends, because the redrive would otherwise receive rejected messages again in place of untried messages.
        not_deleted: ids of the messages that were sent and could not be deleted from the dead-letter queue.
        refusals: the distinct reasons that SQS gave for rejecting messages.
    """

    clients: RegionClients
    queue: Queue
    goal: int
    moved: int = 0
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    not_deleted: set[str] = field(default_factory=set)
    refusals: set[str] = field(default_factory=set)

    @property
    def handled(self) -> int:
        """Return the number of messages that were moved, were rejected, or could not be deleted."""
        return self.moved + len(self.refused) + len(self.not_deleted)

    async def work(self, per_second: float, on_progress: Callable[[int], None] | None) -> None:
        """Move messages until `goal` messages are handled or the dead-letter queue returns no new message."""
        started = time.monotonic()
        dead = self.queue.dead_letter.url
        while self.handled < self.goal:
            wanted = min(MAX_BATCH_MESSAGES, self.goal - self.handled)
            received = await receive(self.clients, dead, limit=wanted, hold_seconds=HOLD_SECONDS)
            # Replace an earlier copy of a message, because SQS accepts only the receipt handle of the newest delivery.
            self.held.update((message["MessageId"], message) for message in received)
            known = self.refused | self.not_deleted
            fresh = [message for message in received if message["MessageId"] not in known]
            if not fresh:
                break
            for batch in batches(fresh):
                await self._move(batch)
                if on_progress is not None:
                    on_progress(self.moved)
            await asyncio.sleep(max(0.0, started + self.moved / per_second - time.monotonic()))

    async def _move(self, batch: list[dict[str, Any]]) -> None:
        accepted = await self._send(batch)
        self.refused |= {message["MessageId"] for message in batch} - {message["MessageId"] for message in accepted}
        left = await self._delete(accepted)
        if left:
            left = await self._delete(left)
        self.not_deleted |= {message["MessageId"] for message in left}
        self.moved += len(accepted) - len(left)

    async def _send(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send a batch to the original queue, and return the messages that the queue accepted."""
        try:
            answer = await self.clients.call(
                "sqs",
                "send_message_batch",
                QueueUrl=self.queue.url,
                Entries=[_entry(str(number), message) for number, message in enumerate(batch)],
            )
        except MjctlError as error:
            if not _concerns_a_message(error):
                raise
            # SQS rejects a whole batch if a single message is too large. Send the halves of a rejected batch
            # separately, until SQS rejects only the message that is too large.
            if len(batch) > 1:
                middle = len(batch) // 2
                return await self._send(batch[:middle]) + await self._send(batch[middle:])
            self.refusals.add(error.what)
            return []
        for item in answer.get("Failed", []):
            reason = ": ".join(filter(None, (item.get("Code"), item.get("Message"))))
            self.refusals.add(reason or "SQS gives no reason")
        return [batch[int(item["Id"])] for item in answer.get("Successful", [])]

    async def _delete(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Delete messages from the dead-letter queue, and return the messages that could not be deleted."""
        if not messages:
            return []
        answer = await self.clients.call(
            "sqs",
            "delete_message_batch",
            QueueUrl=self.queue.dead_letter.url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ],
        )
        for item in answer.get("Successful", []):
            self.held.pop(messages[int(item["Id"])]["MessageId"], None)
        return [messages[int(item["Id"])] for item in answer.get("Failed", [])]


def _entry(entry_id: str, message: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        name: {part: value for part, value in attribute.items() if part in _ATTRIBUTE_PARTS}
        for name, attribute in message.get("MessageAttributes", {}).items()
    }
    return {"Id": entry_id, "MessageBody": message["Body"], "MessageAttributes": attributes}


def _concerns_a_message(error: MjctlError) -> bool:
    """Return whether SQS rejected a request because of a message, and not because of the caller or the service."""
    return any(code in error.what for code in ("TooLong", "InvalidMessageContents", "InvalidParameterValue"))
