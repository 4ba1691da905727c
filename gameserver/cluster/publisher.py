"""Takes stored events to SNS, in order within a match, until SNS has them: nothing is dropped while it is away."""

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
"""Of one message, beyond its first event. Ten of them are what the persistence function gets, and writes, at once."""

_CALL_MESSAGES: Final = 10
_CALL_BYTES: Final = 250_000
"""SNS takes 10 messages and 256 KiB in one call."""

_ROUND_SECONDS: Final = 0.25
"""Waiting a little fills the messages; each call costs a few milliseconds of this process's CPU."""

_ROUND_MATCHES: Final = 64
_ROUND_EVENTS: Final = 50
_RECENT_EVENTS: Final = 256
_PARALLEL_CALLS: Final = 4
_BACKOFF_SECONDS: Final = (0.2, 5.0)


@dataclass
class Outbox:
    """How far one match's events have got. Sequences; `snapshotted`: covered by the stored snapshot.

    `recent` holds the newest events that SNS has not taken: it spares reading them back, and outlives a Redis that
    loses its last second.
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
        return self.committed - self.published

    def commit(self, first_sequence: int, bodies: Sequence[bytes]) -> None:
        """These events are stored now."""
        if self.backlog == 0:
            self.waiting_since = time.monotonic()
        self.recent.extend(EncodedEvent(first_sequence + index, body) for index, body in enumerate(bodies))
        self.committed = max(self.committed, first_sequence + len(bodies) - 1)

    def advance(self, published: int) -> None:
        """SNS has everything up to here."""
        self.published = published
        self.waiting_since = time.monotonic()
        while self.recent and self.recent[0].sequence <= published:
            self.recent.popleft()

    def at_hand(self, limit: int) -> list[EncodedEvent] | None:
        """The next events to publish; None if they must be read from the stream."""
        if not self.recent or self.recent[0].sequence > self.published + 1:
            return None
        return list(islice(self.recent, limit))


class _Entry(NamedTuple):
    outbox: Outbox
    event: EncodedEvent


_Message = list[_Entry]
"""Events, of any matches, that travel and are retried together."""


class Publisher:
    """The events of one server's matches.

    Attributes:
        on_done: called with its id when all events of an ended match are out.
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
        self._outboxes[outbox.match_id] = outbox
        self._wake.set()

    def untrack(self, match_id: str) -> None:
        self._outboxes.pop(match_id, None)

    def wake(self) -> None:
        """Do not wait for a full batch: a match has ended."""
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Events stored but not yet taken by SNS."""
        return sum(outbox.backlog for outbox in self._outboxes.values())

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest event that waits."""
        waiting = [outbox.waiting_since for outbox in self._outboxes.values() if outbox.backlog]
        return time.monotonic() - min(waiting) if waiting else 0.0

    async def run(self) -> None:
        """Publish until cancelled; what is not out by then stays in the streams for the next owner."""
        if self._topic_arn:
            # Reading the SDK takes 0.3 s of CPU: on a thread, before the first event needs it.
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
        """One pass over all outboxes. False: something did not get out and is worth waiting for."""
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
        found = await self._next_events(outboxes)
        entries = [_Entry(outbox, event) for outbox, events in zip(outboxes, found, strict=True) for event in events]
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
            for outbox, events in zip(outboxes, found, strict=True)
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
        """Hand messages to SNS in one call; returns the entries that it did not take."""
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
                # The new owner publishes from where the stored position stands; repeating is harmless.
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
    """A JSON array of the events."""
    return b"[%b]" % b",".join(entry.event.body for entry in message)


def _bounded(items: Iterable[T], size_of: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """Groups in order, of at most so many items and bytes; an item that is too large alone is a group of its own."""
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
