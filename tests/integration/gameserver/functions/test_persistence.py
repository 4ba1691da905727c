"""Tests that events take effect exactly once in PostgreSQL and DynamoDB, also with repetitions and failures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gameserver.functions.persistence import persist
from gameserver.functions.services import Services
from gameserver.persistence.results import Stats
from gameserver.runtime.settings import Settings

STARTED_AT = 1_790_000_000_000


@dataclass
class Played:
    """Describes a match of two players. The first player wins by 30 to 10."""

    match_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    winner: str = field(default_factory=lambda: str(uuid.uuid4()))
    loser: str = field(default_factory=lambda: str(uuid.uuid4()))

    def event(self, sequence: int, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "event_id": f"{self.match_id}:{sequence}",
            "type": kind,
            "match_id": self.match_id,
            "region": "us-east-1",
            "server_id": "game-us-east-1a-1",
            "sequence": sequence,
            "occurred_at_ms": STARTED_AT + sequence * 1000,
            "payload": payload,
        }

    @property
    def events(self) -> list[dict[str, Any]]:
        scored = [(self.winner, 10), (self.loser, 10), (self.winner, 30)]
        result = [
            {"player_id": self.winner, "display_name": "Ada", "score": 30, "rank": 1},
            {"player_id": self.loser, "display_name": "Bob", "score": 10, "rank": 2},
        ]
        ended = {
            "mode": "sprint",
            "reason": "time_up",
            "started_at_ms": STARTED_AT,
            "ended_at_ms": STARTED_AT + 8000,
            "players": result,
        }
        kinds = [
            ("match.started", {"mode": "sprint", "seats": 10}),
            ("player.joined", {"player_id": self.winner, "display_name": "Ada"}),
            ("player.joined", {"player_id": self.loser, "display_name": "Bob"}),
            *(("player.scored", {"player_id": player, "score": score, "points": 1}) for player, score in scored),
            ("player.left", {"player_id": self.loser}),
            ("card.played", {"player_id": self.winner, "slot": 0, "card": 7}),
            ("match.ended", ended),
        ]
        return [self.event(number, kind, payload) for number, (kind, payload) in enumerate(kinds, start=1)]


def batch(bodies: Iterable[Any]) -> dict[str, Any]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return {"Records": [{"messageId": str(number), "body": text} for number, text in enumerate(texts)]}


def failed(answer: dict[str, Any]) -> list[int]:
    return sorted(int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"])


@pytest.fixture(scope="module")
def settings(make_settings: Any) -> Settings:
    return make_settings()


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    services = Services(settings)
    yield services
    await services.close()


def internal(played: Played) -> list[dict[str, Any]]:
    """Return the events of the match as a match of internal accounts."""
    events = played.events
    for event in (events[0], events[-1]):
        event["payload"]["internal"] = True
    return events


async def test_an_internal_match_is_in_no_statistics_of_players_and_expires(
    services: Services, settings: Settings
) -> None:
    played, real = Played(), Played()
    events = internal(played)
    events[-1]["payload"]["ended_at_ms"] = round(time.time() * 1000)
    assert failed(await persist(batch([*events, *real.events]), services)) == []
    async with services.database.connection() as connection:
        counted = await connection.fetch("SELECT player_id FROM player_stats")
        flags = dict(await connection.fetch("SELECT match_id, internal FROM matches"))
    assert {played.winner, played.loser}.isdisjoint(row["player_id"] for row in counted)
    assert {real.winner, real.loser} <= {row["player_id"] for row in counted}
    assert (flags[played.match_id], flags[real.match_id]) == (True, False)
    leaders = {player for player, _ in await services.results.leaders(1000)}
    assert real.winner in leaders
    assert played.winner not in leaders
    # A probe can read the result of its match, although the result is not on the leaderboard.
    assert await services.results.stats(played.winner) == Stats(1, 1, 30, 30)
    key = {"match_id": {"S": played.match_id}}
    item = services.aws.dynamodb.get_item(TableName=settings.tables["matches"], Key=key)["Item"]
    assert item["state"] == {"S": "ended"}
    assert int(item["expires_at"]["N"]) == pytest.approx(time.time() + 86400, abs=120)


async def test_internal_matches_leave_the_database_after_a_day(services: Services) -> None:
    played, real = Played(), Played()
    assert failed(await persist(batch([*internal(played), *real.events]), services)) == []
    await services.results.prune()
    assert await services.results.stats(played.winner) == Stats(1, 1, 30, 30)
    async with services.database.connection() as connection:
        await connection.execute("UPDATE matches SET recorded_at = now() - interval '25 hours'")
        await connection.execute("UPDATE internal_stats SET updated_at = now() - interval '25 hours'")
        await connection.execute("UPDATE player_stats SET updated_at = now() - interval '25 hours'")
    await services.results.prune()
    async with services.database.connection() as connection:
        left = {row["match_id"] for row in await connection.fetch("SELECT match_id FROM matches")}
        players = {row["player_id"] for row in await connection.fetch("SELECT player_id FROM match_players")}
    assert real.match_id in left
    assert played.match_id not in left
    assert played.winner not in players
    assert await declared_events(services, played) == []
    assert len(await declared_events(services, real)) == 1
    assert await services.results.stats(played.winner) == Stats()
    assert await services.results.stats(real.winner) == Stats(1, 1, 30, 30)


async def declared_events(services: Services, played: Played) -> list[Any]:
    async with services.database.connection() as connection:
        rows: list[Any] = await connection.fetch("SELECT * FROM match_events WHERE match_id = $1", played.match_id)
    return rows


async def assert_saved_once(services: Services, played: Played) -> None:
    async with services.database.connection() as connection:
        match = await connection.fetchrow("SELECT * FROM matches WHERE match_id = $1", played.match_id)
        players = await connection.fetch(
            "SELECT * FROM match_players WHERE match_id = $1 ORDER BY rank", played.match_id
        )
    assert (match["state"], match["mode"], match["reason"]) == ("ended", "sprint", "time_up")
    assert match["ended_at"].timestamp() * 1000 == STARTED_AT + 8000
    stored = [(row["player_id"], row["display_name"], row["score"], row["rank"]) for row in players]
    assert stored == [(played.winner, "Ada", 30, 1), (played.loser, "Bob", 10, 2)]
    assert await services.results.stats(played.winner) == Stats(1, 1, 30, 30)
    assert await services.results.stats(played.loser) == Stats(1, 0, 10, 10)
    [event] = await declared_events(services, played)
    assert (event["sequence"], event["type"]) == (8, "card.played")
    assert event["occurred_at"].timestamp() * 1000 == STARTED_AT + 8000
    assert json.loads(event["payload"]) == {"player_id": played.winner, "slot": 0, "card": 7}

    record = await services.tables.match(played.match_id)
    assert record is not None
    assert (record.state, record.mode, record.ended_at) == ("ended", "sprint", STARTED_AT + 8000)
    assert record.result is not None
    assert record.result["reason"] == "time_up"
    assert [(p["player_id"], p["score"], p["rank"]) for p in record.result["players"]] == [
        (played.winner, 30, 1),
        (played.loser, 10, 2),
    ]


async def test_a_match_is_saved_in_both_stores(services: Services, settings: Settings) -> None:
    played = Played()
    await services.tables.register_match(
        played.match_id,
        mode="sprint",
        seats=10,
        rules="arena",
        region="us-east-1",
        created_by=played.winner,
        created_at_ms=STARTED_AT,
    )
    assert failed(await persist(batch(played.events[:1]), services)) == []
    # The match was registered with an expiry in the past, and the start of the match moves the expiry to the future.
    item = services.aws.dynamodb.get_item(
        TableName=settings.tables["matches"], Key={"match_id": {"S": played.match_id}}
    )["Item"]
    assert item["state"] == {"S": "running"}
    assert int(item["expires_at"]["N"]) > STARTED_AT / 1000 + 86400

    assert failed(await persist(batch(played.events[1:]), services)) == []
    await assert_saved_once(services, played)
    item = services.aws.dynamodb.get_item(
        TableName=settings.tables["matches"], Key={"match_id": {"S": played.match_id}}
    )["Item"]
    assert "expires_at" not in item
    assert item["created_by"] == {"S": played.winner}


@pytest.mark.parametrize("seed", range(6))
async def test_events_in_any_order_and_repetition_have_the_same_effect(services: Services, seed: int) -> None:
    generator = random.Random(seed)
    played = Played()
    deliveries = played.events * 2
    generator.shuffle(deliveries)
    while deliveries:
        size = generator.randint(1, 10)
        assert failed(await persist(batch(deliveries[:size]), services)) == []
        deliveries = deliveries[size:]
    await assert_saved_once(services, played)


async def test_two_workers_with_the_same_batches_store_each_event_once(services: Services, settings: Settings) -> None:
    matches = [Played() for _ in range(6)]
    events = [event for played in matches for event in played.events]
    other = Services(settings)
    try:
        for start in range(0, len(events), 10):
            part = batch(events[start : start + 10])
            answers = await asyncio.gather(*(persist(part, worker) for worker in (services, other, services)))
            # A conflict between two workers can fail a delivery, after which the queue delivers the messages again.
            if any(map(failed, answers)):
                assert failed(await persist(part, services)) == []
    finally:
        await other.close()
    for played in matches:
        await assert_saved_once(services, played)


async def test_the_statistics_of_two_matches_are_added(services: Services) -> None:
    first = Played()
    second = Played(winner=first.loser, loser=first.winner)
    for played in (first, second):
        assert failed(await persist(batch(played.events), services)) == []
    assert await services.results.stats(first.winner) == Stats(matches=2, wins=1, total_score=40, best_score=30)


@pytest.mark.parametrize("away", ["dynamodb", "redis"])
async def test_the_next_delivery_repairs_a_crash_between_the_stores(
    services: Services, settings: Settings, unused_tcp_port: int, away: str
) -> None:
    played = Played()
    broken = {
        "dynamodb": {"aws_endpoint_url": f"http://127.0.0.1:{unused_tcp_port}"},
        "redis": {"cache_url": f"redis://127.0.0.1:{unused_tcp_port}"},
    }[away]
    half = Services(dataclasses.replace(settings, **broken))
    try:
        answer = await persist(batch(played.events), half)
    finally:
        await half.close()
    kinds = [played.events[number]["type"] for number in failed(answer)]
    assert kinds == (["match.started", "match.ended"] if away == "dynamodb" else ["match.ended"])
    assert await services.results.stats(played.winner) == Stats(1, 1, 30, 30)

    assert failed(await persist(batch(played.events), services)) == []
    await assert_saved_once(services, played)


async def test_a_second_delivery_of_the_last_event_invalidates_the_cache(services: Services) -> None:
    """Test a worker that crashed after it wrote to the two stores and before it invalidated the cache."""
    played = Played()
    assert failed(await persist(batch(played.events), services)) == []
    await services.cache.set("profile", played.winner, {"stale": True})
    await services.cache.set("leaderboard", "top", [])
    assert failed(await persist(batch(played.events[-1:]), services)) == []
    assert await services.cache.get("profile", played.winner) is None
    assert await services.cache.get("leaderboard", "top") is None


async def test_only_failed_messages_are_named(services: Services) -> None:
    played = Played()
    unwritable = Played().event(1, "player.joined", {"player_id": "p", "display_name": "nul \x00 byte"})
    poison = [
        "no json",
        {},
        {**played.events[0], "type": "match.exploded"},
        {**played.events[0], "event_id": "other:1"},
        {**played.events[0], "payload": {"mode": "sprint"}},
        {**played.events[0], "sequence": -1},
    ]
    for body in [*poison, unwritable]:
        answer = await persist(batch([played.events[1], body, played.events[2]]), services)
        assert failed(answer) == [1], body
    assert failed(await persist(batch(played.events), services)) == []
    await assert_saved_once(services, played)


async def test_the_valid_events_of_a_failed_message_are_stored(services: Services) -> None:
    first, second = Played(), Played()
    unwritable = first.event(19, "player.joined", {"player_id": "p", "display_name": "nul \x00 byte"})
    messages = [
        json.dumps([*first.events[:4], {**first.events[0], "sequence": -1}, *second.events[:5]]),
        json.dumps([*second.events[5:], *first.events[4:]]),
        json.dumps([unwritable]),
    ]
    assert failed(await persist(batch(messages), services)) == [0, 2]
    await assert_saved_once(services, first)
    await assert_saved_once(services, second)
    assert failed(await persist(batch(messages), services)) == [0, 2]
    await assert_saved_once(services, first)


async def test_a_second_result_of_a_match_changes_nothing(services: Services) -> None:
    played = Played()
    assert failed(await persist(batch(played.events), services)) == []
    again = json.loads(json.dumps(played.events[-1]).replace(f"{played.match_id}:9", f"{played.match_id}:10"))
    again["sequence"] = 10
    again["payload"]["players"][0]["score"] = 99
    assert failed(await persist(batch([again]), services)) == []
    await assert_saved_once(services, played)


async def test_a_match_that_never_started_is_not_returned_after_its_expiry(services: Services) -> None:
    match_id = uuid.uuid4().hex
    await services.tables.register_match(
        match_id, mode="sprint", seats=10, rules="arena", region="r", created_by="p", created_at_ms=1_000_000
    )
    assert await services.tables.match(match_id) is None


async def test_old_ids_of_events_are_deleted(services: Services) -> None:
    played = Played()
    await persist(batch(played.events), services)
    async with services.database.connection() as connection:
        await connection.execute(
            "UPDATE processed_events SET processed_at = now() - interval '31 days' WHERE event_id LIKE $1",
            f"{played.match_id}:%",
        )
    assert await services.results.prune() == len(played.events)
    assert await services.results.prune() == 0
