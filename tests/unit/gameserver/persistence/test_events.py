from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.persistence.events import MatchEnded, PlayerScored, PoisonEvent, parse, parse_message

SCORED: dict[str, Any] = {
    "event_id": "m1:4",
    "type": "player.scored",
    "match_id": "m1",
    "region": "us-east-1",
    "server_id": "game-us-east-1a-1",
    "sequence": 4,
    "occurred_at_ms": 1_790_000_000_000,
    "payload": {"player_id": "p1", "score": 30, "points": 10},
}


def test_an_event() -> None:
    event = parse(json.dumps(SCORED))
    assert (event.event_id, event.match_id, event.sequence) == ("m1:4", "m1", 4)
    assert event.payload == PlayerScored("p1", 30, 10)


def test_fields_of_a_later_version_are_passed_over() -> None:
    later = {**SCORED, "trace": "x", "payload": {**SCORED["payload"], "combo": 2}}
    assert parse(json.dumps(later)) == parse(json.dumps(SCORED))


def test_an_end_without_players() -> None:
    payload = {"mode": "probe", "reason": "abandoned", "started_at_ms": 1, "ended_at_ms": 2, "players": []}
    event = parse(json.dumps({**SCORED, "type": "match.ended", "payload": payload}))
    assert event.payload == MatchEnded("probe", "abandoned", 1, 2, ())


@pytest.mark.parametrize(
    "change",
    [
        {"type": "player.exploded"},
        {"event_id": "m1:5"},
        {"event_id": "m2:4"},
        {"sequence": -1},
        {"sequence": "4"},
        {"occurred_at_ms": None},
        {"match_id": ""},
        {"match_id": "x" * 65},
        {"payload": None},
        {"payload": {}},
        {"payload": {"player_id": "p1", "score": 1.5, "points": 1}},
        {"payload": {"player_id": "p1", "score": 2**63, "points": 1}},
    ],
)
def test_poison(change: dict[str, Any]) -> None:
    with pytest.raises(PoisonEvent):
        parse(json.dumps({**SCORED, **change}))


@given(st.text() | st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_whatever_arrives_is_an_event_or_poison(body: str | bytes) -> None:
    with pytest.raises(PoisonEvent):
        parse(body)
    events, poison = parse_message(body)
    assert events == []
    assert poison or body in ("[]", b"[]")


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"payload": ['])
def test_deep_nesting_is_poison(opening: str) -> None:
    for body in (opening * 5000, json.dumps({**SCORED, "payload": "deep"}).replace('"deep"', opening * 5000)):
        with pytest.raises(PoisonEvent):
            parse(body)
        events, poison = parse_message(body)
        assert (events, len(poison)) == ([], 1)


def test_a_message_holds_one_event_or_many() -> None:
    one, other = json.dumps(SCORED), json.dumps({**SCORED, "event_id": "m1:5", "sequence": 5})
    assert parse_message(one) == ([parse(one)], [])
    assert parse_message(f"[{one}, {other}]") == ([parse(one), parse(other)], [])
    events, poison = parse_message(f"[{one}, 1, {other}, {{}}]")
    assert (events, len(poison)) == ([parse(one), parse(other)], 2)
