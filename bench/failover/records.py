"""Records the published events of matches, and compares them with the events that the players received."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

from failover.players import Played
from failover.region import Region
from mjctl.clients.stores import database
from mjctl.loadtest.model import LoadTally
from mjctl.loadtest.verify import verify

_SETTLE_SECONDS = 60.0


class Absence(NamedTuple):
    """Describes a period in which a stopped server (SIGSTOP) did not own its former match.

    Attributes:
        match_id: id of the match.
        server_id: id of the stopped server.
        since_ms: begin of the period, when the server was stopped, in milliseconds since 1970.
        until_ms: end of the period, some time after the server has continued, in milliseconds since 1970.
    """

    match_id: str
    server_id: str
    since_ms: float
    until_ms: float


class Written(NamedTuple):
    """Holds a published event of a match.

    Attributes:
        server_id: id of the server that wrote the event.
        at_ms: time of the event, in milliseconds since 1970.
        type: type of the event, for example `match.ended`.
        payload: content of the event, as the server published it.
    """

    server_id: str
    at_ms: int
    type: str
    payload: Any


class Recorder:
    """Records all events of the events topic.

    Attributes:
        events: match id -> sequence number -> event.
        conflicting: number of events that were published twice with different content.
    """

    def __init__(self, region: Region) -> None:
        self._clients = region.clients
        self._topic = next(iter(region.contract.topics.values()))
        self.events: dict[str, dict[int, Written]] = {}
        self.conflicting = 0

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Subscribe a new queue to the events topic, and record all events until the block ends."""
        call = self._clients.call
        url = (await call("sqs", "create_queue", QueueName=f"bench-failover-{secrets.token_hex(4)}"))["QueueUrl"]
        attributes = await call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
        await call(
            "sns", "subscribe", TopicArn=self._topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip
        task = asyncio.create_task(self._run(url))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, url: str) -> None:
        while True:
            answer = await self._clients.call(
                "sqs", "receive_message", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            messages = answer.get("Messages", [])
            for body in (event for message in messages for event in json.loads(message["Body"])):
                known = self.events.setdefault(body["match_id"], {})
                entry = Written(body["server_id"], body["occurred_at_ms"], body["type"], body["payload"])
                self.conflicting += known.setdefault(body["sequence"], entry) != entry
            if messages:
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                await self._clients.call("sqs", "delete_message_batch", QueueUrl=url, Entries=entries)

    async def complete(self, match_ids: Iterable[str]) -> None:
        """Wait for at most `_SETTLE_SECONDS` until the event `match.ended` of every match is recorded."""
        deadline, wanted = time.monotonic() + _SETTLE_SECONDS, set(match_ids)
        while time.monotonic() < deadline:
            ended = {
                m for m, events in self.events.items() if any(event.type == "match.ended" for event in events.values())
            }
            if wanted <= ended:
                return
            await asyncio.sleep(0.2)


async def audit(
    region: Region,
    recorder: Recorder,
    played: Played,
    absences: Sequence[Absence] = (),
    earlier: LoadTally | None = None,
) -> dict[str, Any]:
    """Compare the events that players received with the published events, with PostgreSQL and with DynamoDB.

    Args:
        region: the region in which the matches were played.
        recorder: the record of the published events.
        played: the events that the players received.
        absences: periods in which stopped servers did not own their former matches.
        earlier: earlier matches of the players, because the databases sum up all matches of a player.

    Returns:
        The number of differences of each kind between the players' events and the other records.
    """
    before = earlier or LoadTally()
    everything = LoadTally(
        signed_up=before.signed_up | played.tally.signed_up,
        started=before.started | played.tally.started,
        ended=before.ended | played.tally.ended,
    )
    # The database of a local region can be read, so no bot has to read its profile.
    verification = await verify(region.contract, everything, [], settle_seconds=_SETTLE_SECONDS)
    await recorder.complete(played.results)
    lost, gaps, wrong_score = 0, 0, 0
    for match_id, received in played.acknowledged.items():
        published = recorder.events.get(match_id, {})
        lost += sum(number not in published or published[number][2:] != event for number, event in received.items())
        gaps += sorted(published) != list(range(1, len(published) + 1))
        last = {e["player_id"]: e["score"] for _, (kind, e) in sorted(received.items()) if kind == "player.scored"}
        final = played.tally.ended[match_id].scores
        wrong_score += sum(final.get(player, -1) < score for player, score in last.items())
    return {
        "acknowledged_events": sum(map(len, played.acknowledged.values())),
        "acknowledged_events_lost": lost,
        "acknowledged_scores_lost": wrong_score,
        "told_differently": played.contradictions,
        "matches_started": len(played.tally.started),
        "matches_ended": len(played.results),
        "matches_with_a_gap": gaps,
        "events_published_twice_differently": recorder.conflicting,
        "several_ends": sum(
            Counter(event.type for event in events.values())["match.ended"] > 1 for events in recorder.events.values()
        ),
        "written_by_a_former_owner": _written_by_former(recorder, absences),
        "processed_events_wrong": await _processed_wrongly(region, recorder, played.results),
        "missing_in_stores": len(verification.missing),
        "wrong_scores_in_stores": len(verification.wrong_scores),
        "duplicated_effects": len(verification.duplicated),
        "counted_wrongly": len(verification.counted_wrongly),
        "errors": dict(played.tally.errors),
    }


def _written_by_former(recorder: Recorder, absences: Sequence[Absence]) -> int:
    """Count the events that a stopped server wrote while another server owned the match."""
    return sum(
        absence.since_ms < event.at_ms < absence.until_ms and event.server_id == absence.server_id
        for absence in absences
        for event in recorder.events.get(absence.match_id, {}).values()
    )


async def _processed_wrongly(region: Region, recorder: Recorder, match_ids: Iterable[str]) -> int:
    """Count the recorded events of the matches `match_ids` that PostgreSQL has not stored exactly once."""
    wrong = 0
    async with database(region.contract, region.clients) as connection:
        for match_id in match_ids:
            rows = await connection.fetch(
                "SELECT event_id FROM processed_events WHERE event_id LIKE $1", f"{match_id}:%"
            )
            expected = Counter(f"{match_id}:{number}" for number in recorder.events.get(match_id, {}))
            # The id of an event contains the epoch of its owner, but an event has one sequence number in every epoch.
            actual = Counter(f"{match_id}:{row['event_id'].rpartition(':')[2]}" for row in rows)
            wrong += ((expected - actual) + (actual - expected)).total()
    return wrong
