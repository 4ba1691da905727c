"""Why the worker could not handle a message: kept in the cache, where `mjctl queue peek` looks it up.

SQS keeps a message's id when it moves the message to the dead-letter queue, so the id is the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from gameserver.cache import DistributedCache, ForeignValue

NAMESPACE: Final = "worker-failures"
# SQS keeps no message longer than 14 days:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_KEEP_SECONDS: Final = 14 * 86_400
_MAX_CAUSE: Final = 300


@dataclass(frozen=True)
class Failure:
    """The last failure of one message: what went wrong, and when (Unix time)."""

    cause: str
    at: float


async def record(cache: DistributedCache, causes: Mapping[str, str]) -> None:
    """Keep the cause of each failed message, by message id.

    Raises:
        RedisError: Redis does not answer.
    """
    now = time.time()
    for message_id, cause in causes.items():
        await cache.set(NAMESPACE, message_id, {"cause": cause[:_MAX_CAUSE], "at": now}, ttl_seconds=_KEEP_SECONDS)


async def look_up(cache: DistributedCache, message_ids: Iterable[str]) -> dict[str, Failure]:
    """The last failures of messages, as far as they are known.

    Raises:
        RedisError: Redis does not answer.
    """

    async def one(message_id: str) -> tuple[str, Failure | None]:
        try:
            return message_id, msgspec.convert(await cache.get(NAMESPACE, message_id), Failure | None)
        except (msgspec.MsgspecError, ForeignValue):
            return message_id, None

    found = await asyncio.gather(*map(one, message_ids))
    return {message_id: failure for message_id, failure in found if failure is not None}
