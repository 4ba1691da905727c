"""Keeps in the cache why the worker could not process a message. `mjctl queue peek` shows the causes.

The key of a cause is the id of the message, which SQS does not change when it moves the message to the dead-letter
queue.
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
"""Namespace of the cache for the causes of failed messages."""

# Keep a cause for 14 days, which is the longest time for which SQS keeps a message:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_KEEP_SECONDS: Final = 14 * 86_400
_MAX_CAUSE: Final = 300


@dataclass(frozen=True)
class Failure:
    """Describes the last failure of a message.

    Attributes:
        cause: what the worker could not do, in English.
        at: Unix time of the failure in seconds.
    """

    cause: str
    at: float


async def record(cache: DistributedCache, causes: Mapping[str, str]) -> None:
    """Keep the cause of each failed message. `causes` maps the id of a message to the cause of its failure.

    Raises:
        RedisError: Redis does not answer.
    """
    now = time.time()
    for message_id, cause in causes.items():
        await cache.set(NAMESPACE, message_id, {"cause": cause[:_MAX_CAUSE], "at": now}, ttl_seconds=_KEEP_SECONDS)


async def look_up(cache: DistributedCache, message_ids: Iterable[str]) -> dict[str, Failure]:
    """Return the last failure of each message, by message id. A message without a known failure is left out.

    Raises:
        RedisError: Redis does not answer.
    """

    async def read(message_id: str) -> tuple[str, Failure | None]:
        try:
            return message_id, msgspec.convert(await cache.get(NAMESPACE, message_id), Failure | None)
        except (msgspec.MsgspecError, ForeignValue):
            return message_id, None

    failures = await asyncio.gather(*map(read, message_ids))
    return {message_id: failure for message_id, failure in failures if failure is not None}
