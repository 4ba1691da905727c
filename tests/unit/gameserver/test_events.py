from __future__ import annotations

import json
import math
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.events import (
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOAD_DEPTH,
    MatchEnded,
    MatchEvent,
    MatchStarted,
    PlayerChatted,
    PlayerJoined,
    PlayerLeft,
    PlayerResult,
    PlayerScored,
    PoisonEvent,
    RefusedEvent,
    ReportableEvents,
    RuleEvent,
    decode,
    encode,
    parse,
    parse_message,
    read_labels,
)
from gameserver.match import Match, MatchSpec

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

# The exact bytes that version 0.1.0 wrote for the events of a match. A running region may have events of version 0.1.0
# in its streams and queues.
_RECORDED = """
{"event_id":"m1:1","type":"match.started","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":1,"occurred_at_ms":1790000000000,"payload":{"mode":"duel","seats":2,"internal":true}}
{"event_id":"m1:2","type":"player.joined","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":2,"occurred_at_ms":1790000000000,"payload":{"player_id":"ada","display_name":"Ada","slot":0}}
{"event_id":"m1:3","type":"player.joined","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":3,"occurred_at_ms":1790000000050,"payload":{"player_id":"bob","display_name":"Böb","slot":1}}
{"event_id":"m1:4","type":"player.chatted","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":4,"occurred_at_ms":1790000000060,"payload":{"player_id":"ada","slot":0,"sealed":"AXNlYWxlZP8="}}
{"event_id":"m1:5","type":"player.scored","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":5,"occurred_at_ms":1790000000070,"payload":{"player_id":"ada","slot":0,"score":5,"points":5,"pick_up":3}}
{"event_id":"m1:6","type":"player.left","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":6,"occurred_at_ms":1790000000100,"payload":{"player_id":"bob","slot":1}}
{"event_id":"m1:7","type":"match.ended","match_id":"m1","region":"us-east-1","server_id":"game-us-east-1a-1","sequence":7,"occurred_at_ms":1790000003000,"payload":{"mode":"duel","reason":"time","started_at_ms":1790000000000,"ended_at_ms":1790000003000,"players":[{"player_id":"ada","display_name":"Ada","score":0,"rank":1},{"player_id":"bob","display_name":"Böb","score":0,"rank":1}],"internal":true}}
"""
RECORDED = [line.encode() for line in _RECORDED.strip().splitlines()]


def test_events_of_version_0_1_0_are_parsed() -> None:
    assert [parse(body).payload for body in RECORDED] == [
        MatchStarted("duel", 2, internal=True),
        PlayerJoined("ada", "Ada", 0),
        PlayerJoined("bob", "Böb", 1),
        PlayerChatted("ada", b"\x01sealed\xff", 0),
        PlayerScored(score=5, points=5, player_id="ada", slot=0),
        PlayerLeft("bob", 1),
        MatchEnded(
            "duel",
            "time",
            started_at_ms=1_790_000_000_000,
            ended_at_ms=1_790_000_003_000,
            players=[PlayerResult("ada", "Ada", 0, 1), PlayerResult("bob", "Böb", 0, 1)],
            internal=True,
        ),
    ]
    events, poison = parse_message(b"[%b]" % b",".join(RECORDED))
    assert (events, poison) == ([parse(body) for body in RECORDED], [])
    for body in RECORDED:
        for_replay, as_json = decode(body), msgspec.json.decode(body)
        assert msgspec.to_builtins(for_replay) == as_json


def test_a_match_writes_what_version_0_1_0_wrote() -> None:
    start = 1_790_000_000_000
    match = Match(MatchSpec("m1", "duel", 2, 3.0, "arena", start, "game-us-east-1a-1", internal=True), tick_rate_hz=20)
    ada, _ = match.join("ada", "Ada", start)
    match.join("bob", "Böb", start + 50)
    match.say(ada, b"\x01sealed\xff", start + 60)
    match._record_rule(RuleEvent("player.scored", 0, {"score": 5, "points": 5, "pick_up": 3}), start + 70)
    match.leave(1, start + 100)
    match.end("time", start + 3000)
    written = [encode(event, "m1", "us-east-1", "game-us-east-1a-1") for event in match.take_events()]
    assert [msgspec.json.decode(body) for body in written] == [msgspec.json.decode(body) for body in RECORDED]


def test_the_labels_of_any_body_can_be_read() -> None:
    assert read_labels(RECORDED[0].decode()) == [("m1:1", "match.started")]
    assert read_labels('[{"event_id": 7}, 1, {"type": null}]') == [(7, None), (None, None)]
    for body in ("", "1", "[" * 5000):
        assert read_labels(body) == []


def test_an_event_is_parsed() -> None:
    event = parse(json.dumps(SCORED))
    assert (event.event_id, event.match_id, event.sequence) == ("m1:4", "m1", 4)
    assert event.payload == PlayerScored(score=30, points=10, player_id="p1")


def test_fields_of_a_later_version_are_ignored() -> None:
    later = {**SCORED, "trace": "x", "payload": {**SCORED["payload"], "combo": 2}}
    event = parse(json.dumps(later))
    assert msgspec.structs.replace(event, digest=b"") == msgspec.structs.replace(parse(json.dumps(SCORED)), digest=b"")


def test_the_end_of_a_match_without_players_is_parsed() -> None:
    payload = {"mode": "probe", "reason": "abandoned", "started_at_ms": 1, "ended_at_ms": 2, "players": []}
    event = parse(json.dumps({**SCORED, "type": "match.ended", "payload": payload}))
    assert event.payload == MatchEnded("probe", "abandoned", 1, 2, [])


@pytest.mark.parametrize(
    "change",
    [
        {"type": "player.exploded"},
        {"type": "match.exploded"},
        {"type": "exploded"},
        {"type": "card.played", "payload": []},
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
def test_an_event_that_is_not_valid_is_poison(change: dict[str, Any]) -> None:
    with pytest.raises(PoisonEvent):
        parse(json.dumps({**SCORED, **change}))


@given(st.text() | st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_body_is_an_event_or_poison(body: str | bytes) -> None:
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


def test_a_message_contains_one_event_or_several() -> None:
    first, second = json.dumps(SCORED), json.dumps({**SCORED, "event_id": "m1:5", "sequence": 5})
    assert parse_message(first) == ([parse(first)], [])
    assert parse_message(f"[{first}, {second}]") == ([parse(first), parse(second)], [])
    events, poison = parse_message(f"[{first}, 1, {second}, {{}}]")
    assert (events, len(poison)) == ([parse(first), parse(second)], 2)


def test_an_event_of_a_declared_type_keeps_its_payload() -> None:
    payload = {"player_id": "p1", "slot": 0, "cards": [7, {"suit": "♠"}], "tip": 0.5, "of": None}
    event = parse(json.dumps({**SCORED, "type": "card.played", "payload": payload}))
    assert (event.type, event.payload) == ("card.played", payload)


class CardPlayed(msgspec.Struct, forbid_unknown_fields=True):
    card: Annotated[int, msgspec.Meta(ge=0, lt=52)]


REPORTABLE = ReportableEvents({"card.played": CardPlayed, "deck.cut_2": dict[str, Any]})


def nested(depth: int) -> Any:
    return {"in": nested(depth - 1)} if depth > 1 else {}


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("card.played", {"card": 51}),
        ("player.scored", {"score": -3, "points": 0, "pick_up": 7}),
        ("deck.cut_2", {}),
        ("deck.cut_2", {"at": [1, 2.5, None, True, "♠", {"2": -(2**70)}]}),
        ("deck.cut_2", {"text": "x" * (MAX_PAYLOAD_BYTES - 11)}),
        ("deck.cut_2", {"text": "a backslash before \\u0000, and null"}),
        ("deck.cut_2", nested(MAX_PAYLOAD_DEPTH)),
        ("deck.cut_2", {"flat": [[]] * 500}),
    ],
)
def test_a_valid_payload_is_accepted(event_type: str, payload: dict[str, Any]) -> None:
    checked = REPORTABLE.check(RuleEvent(event_type, 0, payload))
    assert checked == payload
    body = encode(MatchEvent(4, event_type, 1, {"player_id": "p1", "slot": 0, **checked}), "m1", "r", "s1")
    assert parse(body).type == event_type


def test_the_accepted_payload_equals_its_json() -> None:
    cards = [1, 2]
    checked = REPORTABLE.check(RuleEvent("deck.cut_2", 0, {"left": (1, 2), "of": {3: CardPlayed(4)}, "cards": cards}))
    cards.append(3)
    assert checked == {"left": [1, 2], "of": {"3": {"card": 4}}, "cards": [1, 2]}


@pytest.mark.parametrize(
    ("event_type", "payload", "cause"),
    [
        ("card.burnt", {"card": 1}, "do not declare this type"),
        ("match.ended", {}, "do not declare this type"),
        (None, {}, "do not declare this type"),
        ("card.played", {"card": 52}, r"Expected `int` <= 51 - at `\$.card`"),
        ("card.played", {"card": 1, "of": 2}, "unknown field `of`"),
        ("card.played", {}, "missing required field `card`"),
        ("card.played", [1], "must be a dict"),
        ("card.played", CardPlayed(1), "must be a dict"),
        ("card.played", {"card": 1, "slot": 0}, "the match adds them"),
        ("player.scored", {"score": 1, "points": 1, "player_id": "p2"}, "the match adds them"),
        ("player.scored", {"score": 1}, "missing required field `points`"),
        ("player.scored", {"score": 1.5, "points": 1}, "Expected `int`"),
        ("player.scored", {"score": 2**53 + 1, "points": 1}, "Expected `int`"),
        ("player.scored", {"score": 1, "points": 1, "note": "x" * MAX_PAYLOAD_BYTES}, "bytes as JSON; 4096 are"),
        ("deck.cut_2", {"text": "x" * (MAX_PAYLOAD_BYTES - 10)}, "4097 bytes as JSON; 4096 are"),
        ("deck.cut_2", {"at": object()}, "Encoding objects of type object is unsupported"),
        ("deck.cut_2", {(1, 2): 3}, "Only dicts with str-like or number-like keys"),
        ("deck.cut_2", {"at": [{"x": math.nan}]}, "JSON cannot represent the number nan"),
        ("deck.cut_2", {"at": -math.inf}, "JSON cannot represent the number -inf"),
        ("deck.cut_2", {"text": "\ud800"}, "surrogates not allowed"),
        ("deck.cut_2", {"text": ["\x00"]}, "U\\+0000"),
        ("deck.cut_2", {"a\x00": 1}, "U\\+0000"),
        ("deck.cut_2", {"text": "\uffff"}, "U\\+FFFF"),
        ("deck.cut_2", {"text": "\ufffe"}, "U\\+FFFF"),
        ("deck.cut_2", nested(MAX_PAYLOAD_DEPTH + 1), "nested more than"),
        ("deck.cut_2", nested(500), "nested more than"),
    ],
)
def test_an_event_that_cannot_be_stored_is_refused(event_type: Any, payload: Any, cause: str) -> None:
    with pytest.raises(RefusedEvent, match=cause) as refused:
        REPORTABLE.check(RuleEvent(event_type, 0, payload))
    assert refused.value.event_type == str(event_type)


@pytest.mark.parametrize(
    "name", ["card", "Card.played", "match.won", "player.jumped", "a.", "a b.c", "a" * 60 + ".played", 3]
)
def test_some_types_cannot_be_declared(name: Any) -> None:
    with pytest.raises(ValueError, match="event_types: "):
        ReportableEvents({name: dict})


def test_the_id_of_an_event_contains_the_epoch_of_its_owner() -> None:
    """Write the id of version 0.1.0, whose worker accepts no other id, and read both forms of the id."""
    recorded = MatchEvent(4, "player.scored", 1, SCORED["payload"])
    body = encode(recorded, "m1", "us-east-1", "game-us-east-1a-1", epoch=3, epoch_start=2)
    written = json.loads(body)
    assert (written["event_id"], written["epoch"], written["epoch_start"]) == ("m1:4", 3, 2)
    event = parse(body)
    assert (event.event_id, event.epoch, event.epoch_start) == ("m1:3:4", 3, 2)
    assert parse(json.dumps({**written, "event_id": "m1:3:4"})) == event
    assert decode(body).event_id == "m1:4"
    assert parse(json.dumps(SCORED)).epoch == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"event_id": "m1:2:4"},
        {"event_id": "m1:3:5"},
        {"epoch": 0},
        {"epoch": -3},
        {"epoch_start": 0},
        {"epoch_start": 5},
        {"epoch": 2**62 + 1},
    ],
    ids=str,
)
def test_an_event_with_a_wrong_epoch_is_refused(changed: dict[str, Any]) -> None:
    valid = {**SCORED, "event_id": "m1:3:4", "epoch": 3, "epoch_start": 4}
    assert parse(json.dumps(valid)).epoch_start == 4
    with pytest.raises(PoisonEvent):
        parse(json.dumps({**valid, **changed}))


def test_the_digest_of_an_event_depends_on_its_contents_only() -> None:
    digest = parse(json.dumps(SCORED)).digest
    assert parse(json.dumps(dict(reversed(SCORED.items())), indent=2)).digest == digest
    others = [{"occurred_at_ms": 1}, {"payload": {**SCORED["payload"], "score": 31}}]
    assert all(parse(json.dumps({**SCORED, **other})).digest != digest for other in others)
