"""Reads the messages of a dead-letter queue without removing them."""

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
# Maximum number of characters that `peek` shows of an event id or event type that is not a string.
_MAX_SHOWN = 60


@dataclass(frozen=True)
class DeadLetter:
    """Describes a message that the worker could not process in `max_receive_count` deliveries.

    Attributes:
        message_id: SQS's id of the message.
        event_id: id of the first event in the message and the number of further events, e.g. `ID +2`; None if the
            message contains no event with an id.
        event_type: the type that all events of the message have, or "several"; None if no event has a type.
        sent_at: Unix time at which the message was sent to SQS.
        deliveries: how often a reader has received the message, including each `mjctl queue peek`.
        size_bytes: size of the message's body in bytes.
        last_error: why the worker could not process the message the last time; None if the reason is not known. The
            worker records the reason of a failure in the region's cache. On AWS mjctl cannot read the private cache, so
            only the worker's log shows the reason.
        failed_at: Unix time at which the worker could not process the message the last time; None if the time is not
            known.
        body: the text of the message as it was sent, which may contain players' names.
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
    """Return up to `limit` messages of a dead-letter queue without removing them from the queue.

    Raises:
        NotFoundError: the region has no queue `name`.
    """
    url = find_queue(contract, name).dead_letter.url
    with RegionClients(contract) as clients:
        messages = await receive(clients, url, limit=min(limit, _MAX_PEEK), hold_seconds=HOLD_SECONDS)
        await release(clients, url, messages)
        causes = await _causes(contract, clients, [message["MessageId"] for message in messages])
    return [describe(message, causes.get(message["MessageId"])) for message in messages]


async def _causes(contract: Contract, clients: RegionClients, message_ids: list[str]) -> dict[str, Failure]:
    """Return the worker's record of the last failure by message id, or {} if mjctl cannot read the region's cache."""
    if not message_ids or contract.cache.access != "direct":
        return {}
    try:
        async with cache(contract, clients) as redis:
            return await look_up(DistributedCache(redis), message_ids)
    except MjctlError:
        # Return no reasons and no error if the cache cannot be read, because the operator needs the messages even
        # without reasons.
        return {}


def describe(message: dict[str, Any], failure: Failure | None = None) -> DeadLetter:
    """Describe a message of a dead-letter queue, whose body may be any text.

    Args:
        message: the message in the form in which SQS returned it.
        failure: the worker's record of the last failure to process the message, or None if it is not known.
    """
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
    """Return a string unchanged, None for null, and any other JSON value as JSON of at most 60 characters."""
    if value is None or isinstance(value, str):
        return value
    try:
        text = json.dumps(value)
    except RecursionError:
        return "?"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
