"""Tests that events which a newer owner of their match made void have no effect, in any order of delivery."""

from __future__ import annotations

import base64
import json
import random
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from gameserver.events import parse_message
from gameserver.functions.persistence import persist
from gameserver.functions.services import PROFILE_NAMESPACE, Services
from gameserver.persistence import failures
from gameserver.persistence.results import Stats
from gameserver.runtime.settings import Settings
from mjctl.sandbox.stage.log_filters import predicate

ROOT = Path(__file__).parents[4]
STARTED_AT = 1_790_000_000_000


def _person() -> str:
    return uuid.uuid4().hex


@dataclass
class Contested:
    """Describes a match of which three owners recorded different events."""

    match_id: str = field(default_factory=_person)
    ada: str = field(default_factory=_person)
    bob: str = field(default_factory=_person)
    eve: str = field(default_factory=_person)

    def event(self, epoch: int, start: int, sequence: int, kind: str, **payload: Any) -> dict[str, Any]:
        number = f"{epoch}:{sequence}" if epoch else str(sequence)
        epochs = {"epoch": epoch, "epoch_start": start} if epoch else {}
        return {
            "event_id": f"{self.match_id}:{number}",
            "type": kind,
            "match_id": self.match_id,
            "region": "us-east-1",
            "server_id": f"game-{epoch}",
            "sequence": sequence,
            # The clocks of the owners differ, so the times do not say which event is newer.
            "occurred_at_ms": STARTED_AT + sequence * 1000 - epoch,
            "payload": payload,
            **epochs,
        }

    def joined(self, epoch: int, start: int, sequence: int, player: str) -> dict[str, Any]:
        return self.event(epoch, start, sequence, "player.joined", player_id=player, display_name=player[:8])

    def scored(self, epoch: int, start: int, sequence: int, player: str, score: int) -> dict[str, Any]:
        return self.event(epoch, start, sequence, "player.scored", player_id=player, score=score, points=1)

    def said(self, epoch: int, start: int, sequence: int, text: bytes) -> dict[str, Any]:
        sealed = base64.b64encode(text).decode()
        return self.event(epoch, start, sequence, "player.chatted", player_id=self.ada, sealed=sealed)

    def ended(self, epoch: int, start: int, sequence: int, *scores: tuple[str, int]) -> dict[str, Any]:
        players = [
            {"player_id": player, "display_name": player[:8], "score": score, "rank": rank}
            for rank, (player, score) in enumerate(scores, 1)
        ]
        times = {"started_at_ms": STARTED_AT, "ended_at_ms": STARTED_AT + 8000}
        reason = f"epoch {epoch}"
        return self.event(epoch, start, sequence, "match.ended", mode="sprint", reason=reason, players=players, **times)

    def first(self) -> list[dict[str, Any]]:
        return [
            self.event(1, 1, 1, "match.started", mode="sprint", seats=10),
            self.joined(1, 1, 2, self.ada),
            self.joined(1, 1, 3, self.bob),
            self.scored(1, 1, 4, self.ada, 2),
            self.said(1, 1, 5, b"void"),
            self.joined(1, 1, 6, self.eve),
            self.event(1, 1, 7, "card.played", player_id=self.eve, slot=2, card=1),
            self.scored(1, 1, 8, self.eve, 50),
            self.event(1, 1, 9, "player.left", player_id=self.ada),
            self.ended(1, 1, 10, (self.eve, 50), (self.ada, 2), (self.bob, 0)),
        ]

    def second(self) -> list[dict[str, Any]]:
        return [
            self.scored(2, 5, 5, self.bob, 4),
            self.event(2, 5, 6, "card.played", player_id=self.bob, slot=1, card=2),
            self.scored(2, 5, 7, self.bob, 90),
            self.event(2, 5, 8, "card.played", player_id=self.bob, slot=1, card=3),
        ]

    def third(self) -> list[dict[str, Any]]:
        return [
            self.said(3, 7, 7, b"valid"),
            self.scored(3, 7, 8, self.ada, 6),
            self.ended(3, 7, 9, (self.ada, 6), (self.bob, 4)),
        ]


@pytest.fixture(scope="module")
def settings(make_settings: Any) -> Settings:
    settings: Settings = make_settings()
    return settings


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    services = Services(settings)
    yield services
    await services.close()


async def _deliver(services: Services, *messages: list[dict[str, Any]]) -> list[int]:
    records = [{"messageId": str(number), "body": json.dumps(message)} for number, message in enumerate(messages)]
    answer = await persist({"Records": records}, services)
    return sorted(int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"])


async def _state(services: Services, match: Contested) -> dict[str, Any]:
    names = {match.ada: "ada", match.bob: "bob", match.eve: "eve"}
    async with services.database.connection() as connection:

        async def rows(columns: str, table: str) -> list[tuple[Any, ...]]:
            query = f"SELECT {columns} FROM {table} WHERE match_id = $1 ORDER BY 1"  # noqa: S608 - names of the test
            return [
                tuple(names.get(value, value) for value in row) for row in await connection.fetch(query, match.match_id)
            ]

        state: dict[str, Any] = {
            "row": await rows("state, reason", "matches"),
            "players": sorted(await rows("player_id, score, rank, left_at", "match_players")),
            "chat": await rows("sequence, sealed", "chat_messages"),
            "events": await rows("sequence, payload::jsonb->>'card'", "match_events"),
            "epochs": await rows("epoch, first_sequence", "match_epochs"),
        }
    record = await services.tables.match(match.match_id)
    state["dynamodb"] = record and record.result and record.result["reason"]
    state["stats"] = [await services.results.stats(player) for player in (match.ada, match.bob, match.eve)]
    return state


EXPECTED = {
    "row": [("ended", "epoch 3")],
    "players": [("ada", 6, 1, None), ("bob", 4, 2, None)],
    "chat": [(7, b"valid")],
    "events": [(6, "2")],
    "epochs": [(1, 1), (2, 5), (3, 7)],
    "dynamodb": "epoch 3",
    "stats": [Stats(1, 1, 6, 6), Stats(1, 0, 4, 4), Stats()],
}


async def test_the_newest_owner_decides_in_the_order_of_recording(services: Services) -> None:
    match = Contested()
    for events in (match.first(), match.second(), match.third()):
        assert await _deliver(services, events) == []
    assert await _state(services, match) == EXPECTED


async def test_a_void_result_counts_for_no_player_until_the_next_result(services: Services) -> None:
    match, before = Contested(), Contested()
    before.eve = match.eve
    assert await _deliver(services, [before.ended(1, 1, 1, (match.eve, 40))], match.first()) == []
    assert await services.results.stats(match.eve) == Stats(2, 2, 90, 50)
    assert await _deliver(services, match.second()) == []
    state = await _state(services, match)
    assert state["row"] == [("running", None)]
    assert state["stats"] == [Stats(), Stats(), Stats(1, 1, 40, 40)]
    assert state["players"] == [("ada", 0, None, None), ("bob", 90, None, None)]


@pytest.mark.parametrize("seed", range(12))
async def test_the_newest_owner_decides_in_any_order(services: Services, seed: int) -> None:
    match, chance = Contested(), random.Random(seed)
    events = [*match.first(), *match.second(), *match.third()]
    events += chance.sample(events, 5)
    chance.shuffle(events)
    while events:
        size = chance.randint(1, 6)
        batch, events = events[:size], events[size:]
        assert await _deliver(services, *([event] for event in batch)) == []
    assert await _state(services, match) == EXPECTED


async def test_an_id_with_another_payload_is_no_redelivery(services: Services) -> None:
    match = Contested()
    first, other = match.scored(1, 1, 1, match.ada, 5), match.scored(1, 1, 1, match.ada, 6)
    assert await _deliver(services, [first]) == []
    assert await _deliver(services, [first], [other], [match.scored(1, 1, 2, match.bob, 1)]) == [0, 1]
    known = await failures.look_up(services.cache, ["1"])
    assert known["1"].cause == "another event with this id was stored before"
    assert await _deliver(services, [first]) == []
    assert (await _state(services, match))["players"] == [("ada", 5, None, None), ("bob", 1, None, None)]
    assert await _deliver(services, [other]) == [0]
    # Spaces and the order of names are no part of the payload.
    assert await _deliver(services, [dict(reversed(first.items()))]) == []


async def test_a_reused_id_is_counted_and_its_line_of_the_log_is_in_the_alarms_metric(services: Services) -> None:
    match = Contested()
    labels = {"type": "player.scored", "outcome": "reused"}
    before = REGISTRY.get_sample_value("gameserver_persistence_events_total", labels) or 0.0
    with capture_logs() as logs:
        await _deliver(services, [match.scored(1, 1, 1, match.ada, 5)], [match.scored(1, 1, 2, match.ada, 6)])
        await _deliver(services, [match.scored(1, 1, 1, match.ada, 7)])
    assert REGISTRY.get_sample_value("gameserver_persistence_events_total", labels) == before + 1
    source = (ROOT / "terraform" / "modules" / "observability" / "main.tf").read_text(encoding="utf-8")
    (pattern,) = re.findall(r'^  pattern += (".*")$', source, re.M)
    matches = predicate(json.loads(pattern))
    assert [line["event_id"] for line in logs if matches(line)] == [f"{match.match_id}:1:1"]


async def test_a_withdrawn_result_leaves_the_cache_although_the_worker_was_killed(services: Services) -> None:
    match = Contested()
    assert await _deliver(services, match.first()) == []
    event = match.second()[0]
    # The first worker is killed after it has committed to PostgreSQL.
    await services.results.apply(parse_message(json.dumps([event]))[0])

    async def read(matches: int) -> int:
        async def load() -> int:
            return matches

        return int(await services.cache.get_or_load(PROFILE_NAMESPACE, match.eve, load))

    assert (await read(1), await read(0)) == (1, 1)
    assert await _deliver(services, [event]) == []
    assert await read(0) == 0


def _as_version_0_1_0(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events as a worker of version 0.1.0 understands them: with the short id, and without the epoch."""
    return [
        {name: value for name, value in event.items() if not name.startswith("epoch")}
        | {"event_id": f"{event['match_id']}:{event['sequence']}"}
        for event in events
    ]


async def test_events_take_effect_once_across_a_rollback_of_the_worker(services: Services) -> None:
    """Deliver the events again after each change of the worker's version: forward, back, and forward again."""
    match = Contested()
    events = match.first()
    assert await _deliver(services, _as_version_0_1_0(events[:3])) == []
    assert await _deliver(services, events[:6]) == []
    assert await _deliver(services, _as_version_0_1_0(events)) == []
    state = await _state(services, match)
    assert state["stats"] == [Stats(1, 0, 2, 2), Stats(1, 0, 0, 0), Stats(1, 1, 50, 50)]
    assert await _deliver(services, events) == []
    assert await _state(services, match) == {**state, "epochs": [(1, 1)]}


@pytest.mark.parametrize("stored", [9, 10], ids=["before the result", "after the result"])
async def test_both_stores_keep_one_result_if_a_worker_of_version_0_1_0_sees_the_take_over(
    services: Services, stored: int
) -> None:
    """Roll back after the first owner's events. The worker of version 0.1.0 removes nothing that is void."""
    match = Contested()
    assert await _deliver(services, match.first()[:stored]) == []
    assert await _deliver(services, _as_version_0_1_0([*match.second()[:2], *match.third()])) == []
    state = await _state(services, match)
    winner = match.ada if stored == 9 else match.eve
    reason = "epoch 3" if stored == 9 else "epoch 1"
    assert (state["row"], state["dynamodb"]) == ([("ended", reason)], reason)
    assert (await services.results.stats(winner)).wins == 1
    # The events of the take-over are delivered again after the next deploy, for example from the dead-letter queue.
    assert await _deliver(services, match.second(), match.third()) == []
    state = await _state(services, match)
    assert (state["row"], state["dynamodb"]) == ([("ended", "epoch 3")], "epoch 3")
    assert (await services.results.stats(match.ada)).wins == 1


async def test_events_of_version_0_1_0_are_stored_and_never_void(services: Services) -> None:
    """Let a server of version 0.1.0 start a match, a new server take over, and an old server take over again."""
    match = Contested()
    old = [match.joined(0, 0, 1, match.ada), match.joined(0, 0, 2, match.bob), match.said(0, 0, 3, b"old")]
    new = [match.scored(5, 4, 4, match.ada, 3), match.said(5, 4, 5, b"new")]
    last = [match.said(0, 0, 6, b"last"), match.ended(0, 0, 7, (match.ada, 3), (match.bob, 0))]
    for events in (last, new, old, new, last):
        assert await _deliver(services, events) == []
    state = await _state(services, match)
    assert state["row"] == [("ended", "epoch 0")]
    assert state["chat"] == [(3, b"old"), (5, b"new"), (6, b"last")]
    assert state["stats"] == [Stats(1, 1, 3, 3), Stats(1, 0, 0, 0), Stats()]
    assert state["dynamodb"] == "epoch 0"
