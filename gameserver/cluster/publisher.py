"""Sends stored events to SNS, in order within a match. The publisher repeats a call until SNS has accepted the events,
so no event is lost while SNS is unavailable."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog
from redis.exceptions import RedisError

from gameserver.cluster.store import Advance, CommitStatus, MatchStore
from gameserver.events import EncodedEvent
from gameserver.runtime.aws import AwsClients

if TYPE_CHECKING:
    from mypy_boto3_sns.type_defs import PublishBatchRequestEntryTypeDef

log = structlog.get_logger()

T = TypeVar("T")

_MESSAGE_EVENTS: Final = 50
_MESSAGE_BYTES: Final = 60_000
"""Largest size in bytes of a message with several events; a larger event is sent alone. SQS delivers up to ten messages
to the persistence function at once, which writes them in one transaction."""

_CALL_MESSAGES: Final = 10
_CALL_BYTES: Final = 250_000
"""Largest size in bytes of one call to SNS, which accepts 10 messages and 256 KiB in a call."""

_ROUND_SECONDS: Final = 0.25
"""Time between two rounds of calls to SNS. During the wait events gather for one message, because each call to SNS
costs a few milliseconds of CPU in this process."""

_ROUND_MATCHES: Final = 64
_ROUND_EVENTS: Final = 50
_RECENT_EVENTS: Final = 256
_PARALLEL_CALLS: Final = 4
_BACKOFF_SECONDS: Final = (0.2, 5.0)


@dataclass
class Outbox:
    """Holds the position of one match's events on their way from the room through Redis to SNS.

    Attributes:
        match_id: id of the match.
        token: fencing token of this server for the match.
        published: sequence number of the last event that SNS has accepted.
        committed: sequence number of the last event that is stored in Redis.
        snapshotted: sequence number of the last event that this server's last stored snapshot covers; 0 before the
            first snapshot. The stream keeps the events after it, because no snapshot may cover them.
        ended: True once the end of the match is stored in Redis.
        waiting_since: time.monotonic() at which SNS last accepted events of the match, or at which an event was stored
            while all earlier events were published, whichever is later.
        recent: the newest events that SNS has not accepted. `recent` saves reads from Redis, and keeps the newest
            events if Redis restarts without its last second of data.
    """

    match_id: str
    token: int
    published: int
    committed: int
    snapshotted: int = 0
    ended: bool = False
    waiting_since: float = field(default_factory=time.monotonic)
    recent: deque[EncodedEvent] = field(default_factory=lambda: deque(maxlen=_RECENT_EVENTS))

    @property
    def backlog(self) -> int:
        """Return the number of stored events that SNS has not accepted yet."""
        return self.committed - self.published

    def commit(self, first_sequence: int, bodies: Sequence[bytes]) -> None:
        """Record that events are stored in Redis.

        Args:
            first_sequence: sequence number of the first event.
            bodies: the encoded events, in order.
        """
        if self.backlog == 0:
            self.waiting_since = time.monotonic()
        self.recent.extend(EncodedEvent(first_sequence + index, body) for index, body in enumerate(bodies))
        self.committed = max(self.committed, first_sequence + len(bodies) - 1)

    def advance(self, published: int) -> None:
        """Record that SNS has accepted all events up to the sequence number `published`."""
        self.published = published
        self.waiting_since = time.monotonic()
        while self.recent and self.recent[0].sequence <= published:
            self.recent.popleft()

    def at_hand(self, limit: int) -> list[EncodedEvent] | None:
        """Return the next events to publish, at most `limit`; None if they must be read from the stream in Redis."""
        if not self.recent or self.recent[0].sequence > self.published + 1:
            return None
        return list(islice(self.recent, limit))


class _Entry(NamedTuple):
    outbox: Outbox
    event: EncodedEvent


_Message = list[_Entry]
"""Events of one or several matches that are sent in one SNS message."""


class Publisher:
    """Sends the events of one server's matches to SNS.

    Args:
        store: reads and records the events in Redis.
        aws: makes the client of SNS.
        topic_arn: ARN of the events topic; "" to treat each event as published without sending it.

    Attributes:
        on_done: called with the id of a match that has ended and whose events SNS has all accepted.
        events_published: events that SNS has accepted since the start.
        calls_failed: calls to SNS that failed since the start.
    """

    def __init__(self, store: MatchStore, aws: AwsClients, topic_arn: str) -> None:
        self._store = store
        self._aws = aws
        self._topic_arn = topic_arn
        self.on_done: Callable[[str], None] = lambda _: None
        self._outboxes: dict[str, Outbox] = {}
        self._wake = asyncio.Event()
        self._failures = 0
        self.events_published = 0
        self.calls_failed = 0

    def track(self, outbox: Outbox) -> None:
        """Publish the events of a match from now on."""
        self._outboxes[outbox.match_id] = outbox
        self._wake.set()

    def untrack(self, match_id: str) -> None:
        """Stop publishing the events of a match."""
        self._outboxes.pop(match_id, None)

    def wake(self) -> None:
        """Start the next round at once, for example because a match has ended."""
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Return the number of stored events of all matches that SNS has not accepted yet."""
        return sum(outbox.backlog for outbox in self._outboxes.values())

    @property
    def lag_seconds(self) -> float:
        """Return the longest time in seconds for which SNS has accepted no event of a match with unpublished events.

        The result is 0 if all matches' events are published.
        """
        waiting = [outbox.waiting_since for outbox in self._outboxes.values() if outbox.backlog]
        return time.monotonic() - min(waiting) if waiting else 0.0

    async def run(self) -> None:
        """Publish until cancelled. After the cancellation of `run`, the next owner of a match publishes the events that
        remain in the match's stream."""
        if self._topic_arn:
            # The import of boto3 takes 0.3 s of CPU, so boto3 is imported on a thread, before the first event is sent.
            await self._aws.run(lambda: self._aws.sns)
        while True:
            try:
                async with asyncio.timeout(_ROUND_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if await self._round():
                self._failures = 0
            else:
                self._failures += 1
                low, high = _BACKOFF_SECONDS
                await asyncio.sleep(min(high, low * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0))

    async def _round(self) -> bool:
        """Publish a batch of each match's events. Returns False if SNS has not accepted an event of the batches."""
        waiting = [outbox for outbox in self._outboxes.values() if outbox.backlog > 0]
        for outbox in [o for o in self._outboxes.values() if o.ended and o.backlog <= 0]:
            self._finish(outbox)
        fine = True
        for start in range(0, len(waiting), _ROUND_MATCHES):
            chunk = waiting[start : start + _ROUND_MATCHES]
            try:
                fine &= await self._publish(chunk)
            except RedisError as error:
                log.warning("events_unreadable", error=type(error).__name__)
                fine = False
        return fine

    async def _publish(self, outboxes: Sequence[Outbox]) -> bool:
        if not self._topic_arn:
            reached = {outbox.match_id: outbox.committed for outbox in outboxes}
            await self._advance(outboxes, reached)
            return True
        batches = await self._next_events(outboxes)
        entries = [_Entry(outbox, event) for outbox, events in zip(outboxes, batches, strict=True) for event in events]
        gate = asyncio.Semaphore(_PARALLEL_CALLS)
        failed = [
            entry
            for some in await asyncio.gather(*(self._send(messages, gate) for messages in _calls(_messages(entries))))
            for entry in some
        ]
        first_failed: dict[str, int] = {}
        for entry in failed:
            name = entry.outbox.match_id
            first_failed[name] = min(entry.event.sequence, first_failed.get(name, entry.event.sequence))
        reached = {
            outbox.match_id: first_failed.get(outbox.match_id, events[-1].sequence + 1) - 1
            for outbox, events in zip(outboxes, batches, strict=True)
            if events
        }
        await self._advance(outboxes, reached)
        return not failed

    async def _next_events(self, outboxes: Sequence[Outbox]) -> list[list[EncodedEvent]]:
        at_hand = {outbox.match_id: outbox.at_hand(_ROUND_EVENTS) for outbox in outboxes}
        to_read = [(o.match_id, o.published) for o in outboxes if at_hand[o.match_id] is None]
        read = await self._store.unpublished(to_read, _ROUND_EVENTS) if to_read else []
        for (match_id, _), events in zip(to_read, read, strict=True):
            at_hand[match_id] = events
        return [at_hand[outbox.match_id] or [] for outbox in outboxes]

    async def _send(self, messages: Sequence[_Message], gate: asyncio.Semaphore) -> list[_Entry]:
        """Send messages to SNS in one call, and return the entries that SNS did not accept."""
        from botocore.exceptions import BotoCoreError, ClientError

        requests: list[PublishBatchRequestEntryTypeDef] = [
            {"Id": str(index), "Message": _body(message).decode()} for index, message in enumerate(messages)
        ]
        events = sum(map(len, messages))
        async with gate:
            try:
                answer = await self._aws.run(
                    lambda: self._aws.sns.publish_batch(TopicArn=self._topic_arn, PublishBatchRequestEntries=requests)
                )
            except (BotoCoreError, ClientError) as error:
                self.calls_failed += 1
                log.warning("events_not_published", error=type(error).__name__, events=events)
                return [entry for message in messages for entry in message]
        failed = [entry for failure in answer.get("Failed", []) for entry in messages[int(failure["Id"])]]
        self.events_published += events - len(failed)
        return failed

    async def _advance(self, outboxes: Sequence[Outbox], reached: dict[str, int]) -> None:
        moved = [outbox for outbox in outboxes if reached.get(outbox.match_id, 0) > outbox.published]
        advances = [
            Advance(o.match_id, o.token, reached[o.match_id], min(o.snapshotted, reached[o.match_id]) + 1)
            for o in moved
        ]
        for outbox, outcome in zip(moved, await self._store.advance(advances), strict=True):
            if outcome is CommitStatus.FENCED:
                # The new owner of the match publishes the events after the last published event that Redis has
                # recorded. An event that is published twice does no harm, because its id is stored only once.
                self.untrack(outbox.match_id)
            if outcome is not CommitStatus.STORED:
                continue
            outbox.advance(reached[outbox.match_id])
            if outbox.ended and outbox.backlog <= 0:
                self._finish(outbox)

    def _finish(self, outbox: Outbox) -> None:
        if self._outboxes.pop(outbox.match_id, None) is not None:
            self.on_done(outbox.match_id)


def _messages(entries: Iterable[_Entry]) -> Iterator[_Message]:
    return _bounded(entries, lambda entry: len(entry.event.body) + 1, _MESSAGE_EVENTS, _MESSAGE_BYTES)


def _calls(messages: Iterable[_Message]) -> Iterator[list[_Message]]:
    return _bounded(messages, lambda message: len(_body(message)), _CALL_MESSAGES, _CALL_BYTES)


def _body(message: _Message) -> bytes:
    """Return the events of a message as a JSON array."""
    return b"[%b]" % b",".join(entry.event.body for entry in message)


def _bounded(items: Iterable[T], size_of: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """Yield the items in order, in groups of at most `most` items and `most_bytes` bytes.

    An item of more than `most_bytes` forms a group alone.
    """
    group: list[T] = []
    size = 0
    for item in items:
        more = size_of(item)
        if group and (len(group) == most or size + more > most_bytes):
            yield group
            group, size = [], 0
        group.append(item)
        size += more
    if group:
        yield group
