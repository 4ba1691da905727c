"""The depth of queues, and deleting dead-letter messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mjctl.clients.boto import RegionClients
from mjctl.clients.queues import oldest_message_seconds, queue_depth
from mjctl.models.contract import Contract, Queue
from mjctl.models.errors import NotFoundError

# How long a received message is hidden from other readers: longer than sending ten messages takes.
HOLD_SECONDS = 60


@dataclass(frozen=True)
class QueueRow:
    """The depth of one queue. `oldest_age_seconds` is None where the service has no figure."""

    name: str
    waiting: int
    in_flight: int
    oldest_age_seconds: float | None
    dead_letters: int
    max_receive_count: int
    url: str


async def list_queues(contract: Contract) -> list[QueueRow]:
    """Read depth, age and number of dead-letter messages of every queue of one region."""
    with RegionClients(contract) as clients:

        async def row(name: str, queue: Queue) -> QueueRow:
            depth, dead = await asyncio.gather(
                queue_depth(clients, queue.url), queue_depth(clients, queue.dead_letter.url)
            )
            age = await oldest_message_seconds(clients, queue.arn, depth)
            return QueueRow(name, depth.waiting, depth.in_flight, age, dead.total, queue.max_receive_count, queue.url)

        return list(await asyncio.gather(*(row(name, queue) for name, queue in contract.queues.items())))


async def purge(contract: Contract, name: str, *, dry_run: bool) -> int:
    """Delete every dead-letter message of a queue. Returns: their approximate number before.

    SQS allows one purge of a queue a minute.

    Raises:
        NotFoundError: the region has no such queue.
    """
    url = find_queue(contract, name).dead_letter.url
    with RegionClients(contract) as clients:
        count = (await queue_depth(clients, url)).total
        if not dry_run:
            await clients.call("sqs", "purge_queue", QueueUrl=url)
    return count


def find_queue(contract: Contract, name: str) -> Queue:
    """The queue of that name.

    Raises:
        NotFoundError: the region has no such queue; the hint lists the queues that it has.
    """
    try:
        return contract.queues[name]
    except KeyError:
        raise NotFoundError(
            f"no queue `{name}`",
            where=f"{contract.environment}, {contract.region}",
            hint=f"queues: {', '.join(contract.queues)}",
        ) from None
