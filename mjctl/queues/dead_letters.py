"""Looking at dead-letter messages without consuming them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gameserver.cache import DistributedCache
from gameserver.events import read_labels
from gameserver.persistence.failures import Failure, look_up
from mjctl.clients.boto import RegionClients
from mjctl.clients.queues import receive, release
from mjctl.clients.stores import cache
from mjctl.models.contract import Contract
from mjctl.models.errors import MjctlError
from mjctl.queues.operations import HOLD_SECONDS, find_queue

_MAX_PEEK = 1000
# Of an event id or type that is not a string, as much as identifies it.
_MAX_SHOWN = 60


@dataclass(frozen=True)
class DeadLetter:
    """One message that the worker could not handle in `max_receive_count` deliveries.

    Attributes:
        event_id: the id of the first event in the message, and how many more there are; None if the body holds none.
        event_type: the common type of the message's events, or "several"; None if no event names one.
        sent_at: Unix time of the original message.
        deliveries: how often the message was received, a look with `peek` included.
        last_error: why the worker failed the last time; None where that is not known. The record is in the region's
            cache, which this machine cannot read on AWS: there the worker's log has it.
        failed_at: Unix time of that failure.
        body: the message as it was sent. It may hold players' names.
    """

    message_id: str
    event_id: str | None
    event_type: str | None
    sent_at: float
    deliveries: int
    size_bytes: int
    last_error: str | None
    failed_at: float | None
    body: str


async def peek(contract: Contract, name: str, *, limit: int) -> list[DeadLetter]:
    """Look at up to `limit` dead-letter messages and release them; they stay in the dead-letter queue.

    Raises:
        NotFoundError: the region has no such queue.
    """
    url = find_queue(contract, name).dead_letter.url
    with RegionClients(contract) as clients:
        messages = await receive(clients, url, limit=min(limit, _MAX_PEEK), hold_seconds=HOLD_SECONDS)
        await release(clients, url, messages)
        causes = await _causes(contract, clients, [message["MessageId"] for message in messages])
    return [describe(message, causes.get(message["MessageId"])) for message in messages]


async def _causes(contract: Contract, clients: RegionClients, message_ids: list[str]) -> dict[str, Failure]:
    """Why messages failed, as far as the worker has kept it where this machine can read it."""
    if not message_ids or contract.cache.access != "direct":
        return {}
    try:
        async with cache(contract, clients) as redis:
            return await look_up(DistributedCache(redis), message_ids)
    except MjctlError:
        # Without its cause a message is still worth showing.
        return {}


def describe(message: dict[str, Any], failure: Failure | None = None) -> DeadLetter:
    """Describe a received message, whatever its body holds: no body is too odd to be shown."""
    body = str(message["Body"])
    labels = read_labels(body)
    ids = [_as_text(label.event_id) for label in labels]
    types = {_as_text(label.type) for label in labels}
    first = next((shown for shown in ids if shown is not None), None)
    attributes = message.get("Attributes", {})
    return DeadLetter(
        message_id=message["MessageId"],
        event_id=f"{first or '?'} +{len(ids) - 1}" if len(ids) > 1 else first,
        event_type="several" if len(types) > 1 else next(iter(types), None),
        sent_at=int(attributes.get("SentTimestamp", 0)) / 1000,
        deliveries=int(attributes.get("ApproximateReceiveCount", 0)),
        size_bytes=len(body.encode("utf-8", "surrogatepass")),
        last_error=failure.cause if failure else None,
        failed_at=failure.at if failure else None,
        body=body,
    )


def _as_text(value: Any) -> str | None:
    """A string as it is; any other JSON value as JSON, shortened; None for a value that is absent or null."""
    if value is None or isinstance(value, str):
        return value
    try:
        text = json.dumps(value)
    except RecursionError:
        return "?"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
