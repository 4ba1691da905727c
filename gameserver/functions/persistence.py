"""Stores the events of matches from the queue in PostgreSQL and DynamoDB. Each event takes effect exactly once, and
a void event takes no effect (see `gameserver.persistence.histories`).

A message is finished once its events are in PostgreSQL and DynamoDB and the changed keys of the cache are invalidated.
The writes to the databases and the invalidation can be repeated without harm. If the process crashes before a message
is finished, the next delivery of the message repeats the finished writes and completes the missing writes and the
invalidation.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog

from gameserver.events import DeliveredEvent, MatchEnded, MatchStarted, parse_message
from gameserver.functions.services import LEADERBOARD_KEY, LEADERBOARD_NAMESPACE, PROFILE_NAMESPACE, Services
from gameserver.persistence import failures
from gameserver.persistence.database import DatabaseUnavailable
from gameserver.persistence.metrics import EVENT_LAG, EVENTS
from gameserver.persistence.tables import TablesUnavailable

log = structlog.get_logger()

_REUSED: Final = "another event with this id was stored before"


async def persist(batch: Mapping[str, Any], services: Services) -> dict[str, Any]:
    """Handle one batch of SQS messages.

    A message with an event that is not valid fails at each delivery, until the queue moves the message to the
    dead-letter queue. The valid events of a message with an event that is not valid are still stored at the first
    delivery. The cause of each failure is kept for `mjctl queue peek`.

    Args:
        batch: the event that Lambda receives: {"Records": [{"messageId", "body", ...}]}. The body of a message contains
            one or more events.
        services: the connections and limits of this process.

    Returns:
        The answer that Lambda returns: {"batchItemFailures": [{"itemIdentifier"}]}, with the ids of the failed
        messages.
    """
    messages: dict[str, list[DeliveredEvent]] = {}
    failed: dict[str, str] = {}
    for record in batch["Records"]:
        messages[record["messageId"]], poison = parse_message(record["body"])
        for error in poison:
            failed.setdefault(record["messageId"], f"an event is not valid: {error}")
            EVENTS.labels("unknown", "poison").inc()
            log.error("poison_event", message_id=record["messageId"], cause=str(error))
    events = [event for message_events in messages.values() for event in message_events]
    unfinished, void, withdrawn = await _save(events, services)
    saved = [event for event in events if event.event_id not in unfinished]
    unfinished |= await _finish(saved, void, withdrawn, services)
    for message_id, message_events in messages.items():
        for event in message_events:
            if event.event_id in unfinished:
                failed.setdefault(message_id, unfinished[event.event_id])
    for event in events:
        if unfinished.get(event.event_id) == _REUSED:
            EVENTS.labels(event.type, "reused").inc()
        elif event.event_id in unfinished:
            EVENTS.labels(event.type, "failed").inc()
        elif event.event_id in void:
            EVENTS.labels(event.type, "void").inc()
        else:
            EVENTS.labels(event.type, "done").inc()
            EVENT_LAG.observe(max(0.0, time.time() - event.occurred_at_ms / 1000))
    if failed:
        await _keep_causes(failed, services)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in messages if message_id in failed]}


async def _keep_causes(causes: Mapping[str, str], services: Services) -> None:
    """Keep the causes of failed messages in the cache.

    Only operators read the causes, so the batch does not fail if Redis does not answer and the causes are lost.
    """
    from redis.exceptions import RedisError

    try:
        await failures.record(services.cache, causes)
    except RedisError as error:
        log.warning("causes_not_kept", cause=str(error))


async def _save(
    events: list[DeliveredEvent], services: Services
) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
    """Write events to PostgreSQL.

    Returns:
        Event id -> cause, for each event that could not be written. The ids of the events that are void. The ids of the
        players whose earlier result is void.
    """
    import asyncpg

    nothing: frozenset[str] = frozenset()
    if not events:
        return {}, nothing, nothing
    try:
        applied = await services.results.apply(events)
    except DatabaseUnavailable as error:
        log.warning("database_unavailable", cause=str(error))
        return {event.event_id: f"PostgreSQL does not answer: {error}" for event in events}, nothing, nothing
    except asyncpg.PostgresError as error:
        if len(events) == 1:
            log.error("event_rejected", event_id=events[0].event_id, cause=type(error).__name__)
            cause = f"PostgreSQL refuses the event: {type(error).__name__}"
            return {events[0].event_id: cause}, nothing, nothing
        # An event that PostgreSQL refuses aborts the transaction of the whole batch. After PostgreSQL has refused an
        # event, write each event of the batch in its own transaction, so that only the refused event fails.
        rejected: dict[str, str] = {}
        void, withdrawn = set[str](), set[str]()
        for event in events:
            causes, more_void, more_withdrawn = await _save([event], services)
            rejected |= causes
            void |= more_void
            withdrawn |= more_withdrawn
        return rejected, frozenset(void), frozenset(withdrawn)
    for event_id in sorted(applied.void):
        log.warning("event_void", event_id=event_id)
    for event_id in sorted(applied.reused):
        # The event is no redelivery. It fails at each delivery, so it becomes a dead letter. A metric filter of
        # terraform/modules/observability reads this line for the alarm `event-ids-reused`.
        log.error("event_id_reused", event_id=event_id)
    causes = dict.fromkeys(applied.reused, _REUSED)
    return causes, applied.void, applied.withdrawn


async def _finish(
    events: list[DeliveredEvent], void: Collection[str], withdrawn: Collection[str], services: Services
) -> dict[str, str]:
    """Write events to DynamoDB and invalidate the cache.

    `events` includes events that PostgreSQL already had, because an earlier delivery may have stopped after the write
    to PostgreSQL.

    Args:
        events: the events that PostgreSQL has.
        void: ids of the events that are void. These events change nothing in DynamoDB.
        withdrawn: ids of the players whose earlier result is void.
        services: the connections and limits of this process.

    Returns:
        Event id -> cause, for each event that could not be finished.
    """
    from redis.exceptions import RedisError

    unfinished: dict[str, str] = {}
    stale: dict[str, list[tuple[str, str]]] = {}
    for event in events:
        if event.event_id in void:
            continue
        try:
            match event.payload:
                case MatchStarted():
                    await services.tables.mark_running(event)
                case MatchEnded() as ended:
                    await services.tables.mark_ended(event, ended)
                    names = [(PROFILE_NAMESPACE, player.player_id) for player in ended.players]
                    if not ended.internal:
                        names.append((LEADERBOARD_NAMESPACE, LEADERBOARD_KEY))
                    stale[event.event_id] = names
        except TablesUnavailable as error:
            log.warning("event_unfinished", event_id=event.event_id, match_id=event.match_id, cause=str(error))
            unfinished[event.event_id] = f"DynamoDB does not answer: {error}"
    if withdrawn:
        # The event with the new epoch made the earlier result void, and any event of the batch may be this event.
        names = [(PROFILE_NAMESPACE, player_id) for player_id in withdrawn]
        names.append((LEADERBOARD_NAMESPACE, LEADERBOARD_KEY))
        for event in events:
            stale.setdefault(event.event_id, []).extend(names)
    if stale:
        try:
            # Invalidate the keys of the whole batch in one call, because each call can wait for the leases of
            # near-caches to expire.
            await services.cache.invalidate_many(name for names in stale.values() for name in names)
        except RedisError as error:
            log.warning("events_unfinished", event_ids=sorted(stale), cause=str(error))
            unfinished |= dict.fromkeys(stale, f"Redis does not answer: {error}")
    return unfinished
