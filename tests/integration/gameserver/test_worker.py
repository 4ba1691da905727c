"""Tests of `gameserver worker` with a real queue and real databases."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import signal
import time
import uuid
from typing import Any

import boto3
import pytest

from gameserver.functions.services import Services
from gameserver.persistence import failures
from gameserver.persistence.results import Stats
from gameserver.runtime.settings import Settings


class Queues:
    """Holds the events topic, the persistence queue and its dead-letter queue."""

    def __init__(self, settings: Settings) -> None:
        options: Any = {"region_name": settings.region, "endpoint_url": settings.aws_endpoint_url}
        self.sqs = boto3.client("sqs", **options)
        self.sns = boto3.client("sns", **options)
        self.url = settings.persistence_queue_url
        self.dead_letter_url = f"{self.url}-dlq"
        self.topic = settings.events_topic_arn

    def publish(self, bodies: list[str]) -> None:
        for start in range(0, len(bodies), 10):
            entries: Any = [{"Id": str(n), "Message": body} for n, body in enumerate(bodies[start : start + 10])]
            assert not self.sns.publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)["Failed"]

    def change(self, *, visibility_seconds: int, receives: int) -> None:
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead_letter_url, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": receives}
        attributes = {"VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": json.dumps(redrive)}
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)

    def count(self, url: str) -> int:
        """Return the number of messages in the queue, including received messages that are not deleted yet."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in attributes.values())

    def dead_letters(self) -> set[str]:
        return set(self.dead_messages().values())

    def dead_messages(self) -> dict[str, str]:
        """Return the bodies of the messages in the dead-letter queue, by message id."""
        bodies: dict[str, str] = {}
        while messages := self.sqs.receive_message(
            QueueUrl=self.dead_letter_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            bodies |= {message["MessageId"]: message["Body"] for message in messages}
        return bodies

    async def drained(self, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while self.count(self.url):
            assert time.monotonic() < end, f"{self.count(self.url)} messages are left"
            await asyncio.sleep(0.1)


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    return make_settings()


@pytest.fixture
def queues(settings: Settings) -> Queues:
    return Queues(settings)


def ended(player_id: str) -> tuple[str, str]:
    """Return the id and the event of a match that ended with a single player and 7 points."""
    match_id = uuid.uuid4().hex
    player = {"player_id": player_id, "display_name": "Ada", "score": 7, "rank": 1}
    payload = {"mode": "probe", "reason": "time_up", "started_at_ms": 1, "ended_at_ms": 2, "players": [player]}
    event = {
        "event_id": f"{match_id}:1",
        "type": "match.ended",
        "match_id": match_id,
        "region": "us-east-1",
        "server_id": "game-us-east-1a-1",
        "sequence": 1,
        "occurred_at_ms": int(time.time() * 1000),
        "payload": payload,
    }
    return match_id, json.dumps(event)


async def stats_of(settings: Settings, player_id: str) -> Stats:
    services = Services(settings)
    try:
        return await services.results.stats(player_id)
    finally:
        await services.close()


async def causes_of(settings: Settings, message_ids: list[str]) -> dict[str, str]:
    """Return the cause of each message's failure, as the worker stored it for `mjctl queue peek`."""
    services = Services(settings)
    try:
        kept = await failures.look_up(services.cache, message_ids)
    finally:
        await services.close()
    return {message_id: failure.cause for message_id, failure in kept.items()}


async def states_of(settings: Settings, match_ids: list[str]) -> set[str]:
    services = Services(settings)
    try:
        records = await asyncio.gather(*(services.tables.match(match_id) for match_id in match_ids))
    finally:
        await services.close()
    return {record.state if record else "missing" for record in records}


async def test_events_are_stored_and_malformed_messages_go_to_the_dead_letter_queue(
    run_game: Any, settings: Settings, queues: Queues
) -> None:
    queues.change(visibility_seconds=60, receives=2)
    good = [ended("p1") for _ in range(25)]
    poison = ["no json", json.dumps({"type": "match.ended"}), ended("p1")[1].replace("match.ended", "match.exploded")]
    bodies = [body for _, body in good] + poison
    random.Random(1).shuffle(bodies)
    queues.publish(bodies)
    with run_game("worker", settings) as worker:
        await queues.drained()
        assert json.loads(worker.await_status("/readyz", 200))["dependencies"] == {"stores": "ok", "queue": "ok"}
        metrics = worker.get("/metrics")[1]
        assert worker.stop() == 0
    dead = queues.dead_messages()
    assert set(dead.values()) == set(poison)
    causes = await causes_of(settings, list(dead))
    assert {dead[message_id]: cause for message_id, cause in causes.items()}[poison[2]].endswith("unknown event type")
    assert len(causes) == 3
    assert await stats_of(settings, "p1") == Stats(25, 25, 175, 7)
    assert await states_of(settings, [match_id for match_id, _ in good]) == {"ended"}
    assert 'gameserver_persistence_events_total{outcome="done",type="match.ended"} 25.0' in metrics


async def test_a_worker_that_is_killed_repeatedly_loses_and_duplicates_no_event(
    run_game: Any, settings: Settings, queues: Queues
) -> None:
    queues.change(visibility_seconds=2, receives=50)
    good = [ended(f"p{number % 3}") for number in range(150)]
    queues.publish([body for _, body in good])
    generator = random.Random(7)
    for _ in range(3):
        with run_game("worker", settings) as worker:
            await asyncio.sleep(generator.uniform(0.2, 0.8))
            worker.process.send_signal(signal.SIGKILL)
    with run_game("worker", settings):
        await queues.drained()
    assert [await stats_of(settings, f"p{number}") for number in range(3)] == [Stats(50, 50, 350, 7)] * 3
    assert await states_of(settings, [match_id for match_id, _ in good]) == {"ended"}
    assert queues.dead_letters() == set()


async def test_messages_stay_in_the_queue_while_a_store_is_unavailable(
    run_game: Any, settings: Settings, queues: Queues, unused_tcp_port: int
) -> None:
    queues.change(visibility_seconds=60, receives=1)
    match_id, body = ended("p1")
    queues.publish([body])
    with run_game("worker", dataclasses.replace(settings, database_port=unused_tcp_port)) as worker:
        assert worker.get("/healthz")[0] == 200
        assert "postgres" in worker.await_status("/readyz", 503)
        worker.await_log("waiting", 3)
        assert worker.stop() == 0
    # The queue allows a single delivery, so a message that was delivered would now be in the dead-letter queue.
    with run_game("worker", settings):
        await queues.drained()
    assert await states_of(settings, [match_id]) == {"ended"}
    assert queues.dead_letters() == set()
