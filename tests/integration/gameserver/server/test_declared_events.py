"""Tests of events that a studio's rules declare, from the rules to PostgreSQL. An event that cannot be stored ends its
match."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from gameserver.cluster import keys
from gameserver.events import MAX_PAYLOAD_BYTES
from gameserver.functions.services import Services
from gameserver.runtime.settings import Settings

# The rules `CARDS` report one event for each input. The game is over after the event `table.closed`.
CARDS = """
from typing import Any

from msgspec import Struct

from gameserver.rules import PLAYER_SCORED, RuleEvent


class CardPlayed(Struct):
    card: int


class Cards:
    action_type = dict[str, Any]
    event_types = {"card.played": CardPlayed, "table.closed": dict}

    def __init__(self, *, seed, seats, tick_rate_hz):
        self.reports, self.closed = [], False

    def apply(self, slot, action):
        payload = action["payload"]
        if "repeat" in action:
            payload = {name: text * action["repeat"] for name, text in payload.items()}
        self.reports.append(RuleEvent(action["type"], slot, payload))
        self.closed |= action["type"] == "table.closed"

    def step(self):
        reports, self.reports = self.reports, []
        return reports

    def add_player(self, slot): ...
    def remove_player(self, slot): ...
    def changes(self): return None
    def view(self): return {}
    def scores(self): return {0: 0}
    def finished(self): return self.closed
    def replay(self, event): ...
    def dump(self): return self.closed
    def load(self, state): self.closed = state


rules = Cards
"""
REFUSED = {
    "not declared": {"type": "card.burnt", "payload": {"card": 1}},
    "another type of payload": {"type": "card.played", "payload": {"card": "ace"}},
    "too large": {"type": "table.closed", "payload": {"text": "x"}, "repeat": MAX_PAYLOAD_BYTES},
    "not for jsonb": {"type": "table.closed", "payload": {"text": "\x00"}},
    "a score without points": {"type": "player.scored", "payload": {"score": 3}},
    "a score beyond bigint": {"type": "player.scored", "payload": {"score": 2**60, "points": 1}},
}


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the rules `CARDS` into a module that servers can import, and return the module's name."""
    package = f"studio_{uuid.uuid4().hex}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "cards.py").write_text(CARDS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", "")))))
    return f"{package}.cards"


class Queues:
    """Holds the persistence queue and its dead-letter queue."""

    def __init__(self, services: Services) -> None:
        self._sqs, self.url = services.aws.sqs, services.settings.persistence_queue_url
        arn = json.loads(self._attributes(self.url, "RedrivePolicy")["RedrivePolicy"])["deadLetterTargetArn"]
        self.dead_letter_url = self._sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
        # With `maxReceiveCount` 1, a message that fails goes to the dead-letter queue at once.
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"RedrivePolicy": redrive})

    def count(self, url: str) -> int:
        """Return the number of messages in a queue, including received messages that are not deleted yet."""
        names = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        return sum(map(int, self._attributes(url, *names).values()))

    def _attributes(self, url: str, *names: Any) -> dict[str, str]:
        attributes: Any = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return dict(attributes)


async def test_declared_events_are_stored_and_others_end_the_match(
    make_settings: Any, rules: str, run_game: Any, spawn: Any, new_match: Any, player: Any, redis: Any, eventually: Any
) -> None:
    settings: Settings = make_settings()
    services = Services(settings)
    queues = Queues(services)
    server = await spawn(events_topic_arn=settings.events_topic_arn, aws_endpoint_url=settings.aws_endpoint_url)

    async def play(*actions: dict[str, Any]) -> tuple[str, str]:
        """Play a match, and return its id and the reason of its end."""
        spec = await new_match(server.settings.server_id, seconds=60.0, seats=1, rules=rules)
        url = f"ws://127.0.0.1:{server.settings.port}"
        seat = await player(f"player-{spec.match_id}").join((spec.match_id, url))
        for action in actions:
            seat.send_input(action)
        return spec.match_id, (await seat.result())["reason"]

    async def is_published() -> bool:
        return not await redis.zcard(keys.ACTIVE_MATCHES) and not queues.count(queues.url)

    play_card = {"type": "card.played", "payload": {"card": 7}}
    closed = {"deck": [{"suit": "♠", "left": 3}], "note": "null \\u0000", "tip": 0.5}
    async with asyncio.timeout(90):
        good, reason = await play(play_card, play_card, {"type": "table.closed", "payload": closed})
        refused = {name: await play(play_card, action) for name, action in REFUSED.items()}
    assert reason == "finished"
    assert {name: ended for name, (_, ended) in refused.items()} == dict.fromkeys(REFUSED, "error")
    with run_game("worker", settings):
        await eventually(is_published, 60)
    assert queues.count(queues.dead_letter_url) == 0

    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    by_match = {line["match_id"]: line for line in lines if line["event"] == "event_refused"}
    assert set(by_match) == {match_id for match_id, _ in refused.values()}
    for name, (match_id, _) in refused.items():
        line = by_match[match_id]
        assert (line["level"], line["rules"], line["event_type"]) == ("error", rules, REFUSED[name]["type"])
        assert line["cause"]

    async with services.database.connection() as connection:
        reasons = dict(await connection.fetch("SELECT match_id, reason FROM matches"))
        rows = await connection.fetch("SELECT match_id, type, payload FROM match_events ORDER BY match_id, sequence")
    await services.close()
    assert reasons == {good: "finished", **{match_id: "error" for match_id, _ in refused.values()}}
    by = {"player_id": f"player-{good}", "slot": 0}
    assert [(row["type"], json.loads(row["payload"])) for row in rows if row["match_id"] == good] == [
        ("card.played", {**by, "card": 7}),
        ("card.played", {**by, "card": 7}),
        ("table.closed", {**by, **closed}),
    ]
    # Each match with a refused event has stored only the event before the refused event.
    others = [(row["match_id"], row["type"]) for row in rows if row["match_id"] != good]
    assert sorted(others) == sorted((match_id, "card.played") for match_id, _ in refused.values())
