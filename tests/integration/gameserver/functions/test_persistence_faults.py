"""Sends 10,000 events to workers and kills a worker every second. Each event must be stored exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from gameserver.functions.services import Services
from gameserver.persistence.results import Stats
from gameserver.runtime.settings import Settings
from mjctl.queues.dead_letters import peek
from mjctl.queues.redrive import redrive
from tests.factories import contract_over

MATCHES, EVENTS_PER_MATCH, POISON = 1_000, 10, 20
PLAYERS = [f"player-{number}" for number in range(50)]
DUPLICATES = 500
WORKERS = 3
VISIBILITY_SECONDS = 10
# Largest number of deliveries of a message: more than in production, because several killed workers may have received
# one message.
RECEIVES = 6
EVENTS_BETWEEN_KILLS = 50


@dataclass
class Played:
    """Describes a match of two players with ten events. The first player wins."""

    winner: str
    loser: str
    points: int
    match_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def bodies(self) -> list[str]:
        players = [
            {"player_id": self.winner, "display_name": "W", "score": self.points, "rank": 1},
            {"player_id": self.loser, "display_name": "L", "score": self.points // 2, "rank": 2},
        ]
        ended = {"mode": "sprint", "reason": "time_up", "started_at_ms": 1000, "ended_at_ms": 9000, "players": players}
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("match.started", {"mode": "sprint", "seats": 10}),
            ("player.joined", {"player_id": self.winner, "display_name": "W"}),
            ("player.joined", {"player_id": self.loser, "display_name": "L"}),
            *(("player.scored", {"player_id": self.winner, "score": n, "points": 1}) for n in range(1, 6)),
            ("player.left", {"player_id": self.loser}),
            ("match.ended", ended),
        ]
        return [self.body(number, *kind) for number, kind in enumerate(kinds, start=1)]

    def body(self, sequence: int, kind: str, payload: dict[str, Any]) -> str:
        event = {
            "event_id": f"{self.match_id}:{sequence}",
            "type": kind,
            "match_id": self.match_id,
            "region": "us-east-1",
            "server_id": "game-us-east-1a-1",
            "sequence": sequence,
            "occurred_at_ms": int(time.time() * 1000),
            "payload": payload,
        }
        return json.dumps(event)


class Workers:
    """Runs several workers. `kill_one` kills the oldest worker and starts a new worker."""

    def __init__(self, run_game: Any, settings: Settings) -> None:
        self._run = lambda: run_game("worker", settings)
        self._stack = contextlib.ExitStack()
        self._alive: list[Any] = []
        self._starting: list[asyncio.Task[None]] = []
        self.killed = 0

    async def __aenter__(self) -> Workers:
        for _ in range(WORKERS):
            self._start()
        await asyncio.gather(*self._starting)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._starting, return_exceptions=True)
        self._stack.close()

    def kill_one(self) -> None:
        """Kill the oldest worker, unless it is the only worker.

        If the only worker were killed, no worker would process events until a new worker has started, which takes long
        on a slow machine.
        """
        if len(self._alive) > 1:
            self._alive.pop(0).process.send_signal(signal.SIGKILL)
            self.killed += 1
            self._start()

    def _start(self) -> None:
        self._starting.append(asyncio.create_task(self._started()))

    async def _started(self) -> None:
        running = self._run()
        self._alive.append(await asyncio.to_thread(running.__enter__))
        self._stack.push(running)


def count(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(int(n) for n in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())


def publish(settings: Settings, bodies: list[str]) -> None:
    sns = boto3.client("sns", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    for start in range(0, len(bodies), 10):
        entries: Any = [{"Id": str(n), "Message": body} for n, body in enumerate(bodies[start : start + 10])]
        assert not sns.publish_batch(TopicArn=settings.events_topic_arn, PublishBatchRequestEntries=entries)["Failed"]


def expected_stats(played: list[Played]) -> dict[str, Stats]:
    scores: dict[str, list[int]] = {}
    wins: Counter[str] = Counter()
    for match in played:
        scores.setdefault(match.winner, []).append(match.points)
        scores.setdefault(match.loser, []).append(match.points // 2)
        wins[match.winner] += 1
    return {player: Stats(len(won), wins[player], sum(won), max(won)) for player, won in scores.items()}


async def assert_exact(services: Services, settings: Settings, played: list[Played], events: int) -> None:
    """Assert that PostgreSQL and DynamoDB contain these matches and no others."""
    async with services.database.connection() as connection:
        stats = await connection.fetch("SELECT player_id, matches, wins, total_score, best_score FROM player_stats")
        rows = await connection.fetch("SELECT match_id, player_id, score, rank FROM match_players")
        states = await connection.fetch("SELECT match_id, state FROM matches")
        processed = await connection.fetchval("SELECT count(*) FROM processed_events")
    assert {row["player_id"]: Stats(*tuple(row)[1:]) for row in stats} == expected_stats(played)
    finals = {(m.match_id, m.winner, m.points, 1) for m in played}
    finals |= {(m.match_id, m.loser, m.points // 2, 2) for m in played}
    assert {tuple(row) for row in rows} == finals
    assert len(rows) == len(finals)
    assert {row["match_id"]: row["state"] for row in states} == {m.match_id: "ended" for m in played}
    assert processed == events

    dynamodb = boto3.client("dynamodb", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    items = [
        item
        for page in dynamodb.get_paginator("scan").paginate(TableName=settings.tables["matches"])
        for item in page["Items"]
    ]
    stored = {
        item["match_id"]["S"]: (
            item["state"]["S"],
            sorted((p["M"]["player_id"]["S"], int(p["M"]["score"]["N"])) for p in item["result"]["M"]["players"]["L"]),
        )
        for item in items
    }
    assert stored == {m.match_id: ("ended", sorted([(m.winner, m.points), (m.loser, m.points // 2)])) for m in played}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_thousand_events_with_a_worker_killed_every_second(
    run_game: Any, make_settings: Any, aws: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()
    sqs = boto3.client("sqs", region_name=settings.region, endpoint_url=settings.aws_endpoint_url)
    contract = contract_over(settings, aws.secret)
    queue, dead = contract.queues["persistence"].url, contract.queues["persistence"].dead_letter
    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": RECEIVES}),
        },
    )
    generator = random.Random(11)
    played = [Played(*generator.sample(PLAYERS, 2), points=generator.randrange(10, 100)) for _ in range(MATCHES)]
    good = [body for match in played for body in match.bodies]
    assert len(good) == MATCHES * EVENTS_PER_MATCH
    # `refused` are valid events that the database refuses until the test removes a wrong constraint.
    refused = [Played(f"refused-{n}", "refused", points=50) for n in range(POISON)]
    poison = [match.bodies[-1] for match in refused]
    services = Services(settings)
    try:
        async with services.database.connection() as connection:
            await connection.execute(
                "ALTER TABLE match_players ADD CONSTRAINT wrong CHECK (player_id NOT LIKE 'refused%')"
            )
        bodies = good + poison + generator.sample(good, DUPLICATES)
        generator.shuffle(bodies)
        publishing = asyncio.create_task(asyncio.to_thread(publish, settings, bodies))
        started = time.monotonic()
        stored_at_kill = 0
        async with Workers(run_game, settings) as workers:
            while not publishing.done() or await asyncio.to_thread(count, sqs, queue):
                assert time.monotonic() < started + 600, f"{count(sqs, queue)} messages are left"
                await asyncio.sleep(1)
                # On a busy machine a worker may finish no event within a second. If each worker were killed before its
                # first event, valid messages would use up their deliveries, and the queue would move them to the
                # dead-letter queue.
                async with services.database.connection() as connection:
                    stored = await connection.fetchval("SELECT count(*) FROM processed_events")
                if stored >= stored_at_kill + EVENTS_BETWEEN_KILLS:
                    workers.kill_one()
                    stored_at_kill = stored
            await publishing
            seconds, killed = time.monotonic() - started, workers.killed
        await assert_exact(services, settings, played, len(good))
        letters = await peek(contract, "persistence", limit=1000)
        assert sorted(letter.body for letter in letters) == sorted(poison)

        async with services.database.connection() as connection:
            await connection.execute("ALTER TABLE match_players DROP CONSTRAINT wrong")
        assert (await redrive(contract, "persistence")).moved == POISON
        with run_game("worker", settings):
            while await asyncio.to_thread(count, sqs, queue):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert count(sqs, dead.url) == 0
        await assert_exact(services, settings, played + refused, len(good) + POISON)
    finally:
        await services.close()
    result = {
        "events": len(good),
        "duplicates": DUPLICATES,
        "poison": POISON,
        "workers_killed": killed,
        "seconds": round(seconds, 1),
        "rows_wrong": 0,
        "dead_letters": len(letters),
        "dead_letters_after_redrive": 0,
    }
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(result)}\n")
