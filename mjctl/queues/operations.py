"""Reads the depth of queues, and deletes the messages of dead-letter queues."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mjctl.clients.boto import RegionClients
from mjctl.clients.queues import oldest_message_seconds, queue_depth
from mjctl.models.contract import Contract, Queue
from mjctl.models.errors import NotFoundError

# Seconds for which SQS hides a received message from other readers. mjctl needs less time to send a batch of ten
# messages.
HOLD_SECONDS = 60


@dataclass(frozen=True)
class QueueRow:
    """Describes a queue and its depth.

    Attributes:
        name: name of the queue in the contract.
        waiting: number of messages in the queue that a reader can receive now.
        in_flight: number of messages that a reader has received and has not deleted yet.
        oldest_age_seconds: age of the oldest message in the queue; None if SQS and CloudWatch do not report the age.
        dead_letters: number of messages in the queue's dead-letter queue.
        max_receive_count: number of deliveries after which a message moves to the dead-letter queue.
        url: URL of the queue.
    """

    name: str
    waiting: int
    in_flight: int
    oldest_age_seconds: float | None
    dead_letters: int
    max_receive_count: int
    url: str


async def list_queues(contract: Contract) -> list[QueueRow]:
    """Return the depth, the age of the oldest message and the number of dead letters of all queues of one region."""
    with RegionClients(contract) as clients:

        async def row(name: str, queue: Queue) -> QueueRow:
            depth, dead = await asyncio.gather(
                queue_depth(clients, queue.url), queue_depth(clients, queue.dead_letter.url)
            )
            age = await oldest_message_seconds(clients, queue.arn, depth)
            return QueueRow(name, depth.waiting, depth.in_flight, age, dead.total, queue.max_receive_count, queue.url)

        return list(await asyncio.gather(*(row(name, queue) for name, queue in contract.queues.items())))


async def purge(contract: Contract, name: str, *, dry_run: bool) -> int:
    """Delete all messages of a queue's dead-letter queue. SQS allows only one purge of a queue in 60 seconds.

    Args:
        contract: the region's contract.
        name: name of the queue in the contract.
        dry_run: True to count the messages and delete none.

    Returns:
        The approximate number of messages before the purge.

    Raises:
        NotFoundError: the region has no queue `name`.
    """
    url = find_queue(contract, name).dead_letter.url
    with RegionClients(contract) as clients:
        count = (await queue_depth(clients, url)).total
        if not dry_run:
            await clients.call("sqs", "purge_queue", QueueUrl=url)
    return count


def find_queue(contract: Contract, name: str) -> Queue:
    """Return the queue that the contract calls `name`.

    Raises:
        NotFoundError: the region has no queue `name`; the error's hint lists the region's queues.
    """
    try:
        return contract.queues[name]
    except KeyError:
        raise NotFoundError(
            f"no queue `{name}`",
            where=f"{contract.environment}, {contract.region}",
            hint=f"the region has these queues: {', '.join(contract.queues)}",
        ) from None
