from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest

from gameserver.events import LARGEST_SCORE, MatchEvent, RefusedEvent, RuleEvent, encode, needs_snapshot, parse
from gameserver.match import (
    NEVER_JOINED_SECONDS,
    Match,
    MatchFullError,
    MatchOverError,
    MatchSpec,
    UnknownVersion,
)
from gameserver.protocol import Frame, Full
from gameserver.rules.arena import Arena, Move

HZ = 20
NOW = 1_700_000_000_000


def _spec(**overrides: Any) -> MatchSpec:
    values = {
        "match_id": "m1",
        "mode": "arena",
        "seats": 2,
        "duration_seconds": 3.0,
        "rules": "arena",
        "created_at_ms": NOW,
        "server_id": "s1",
    }
    return MatchSpec(**{**values, **overrides})


def _match(**overrides: Any) -> Match:
    return Match(_spec(**overrides), HZ)


def _restore(match: Match, events: list[MatchEvent] | None = None) -> Match:
    return Match.restore(match.spec, HZ, match.snapshot(), events or [])


def _chase(match: Match, slot: int = 0) -> None:
    """Steer `slot` towards the nearest pick-up."""
    view: Any = match.rules.view()
    x, y, _ = view.players[slot]
    target = min(view.pick_ups, key=lambda p: (p.x - x) ** 2 + (p.y - y) ** 2)
    longest = max(abs(target.x - x), abs(target.y - y), 1)
    match.rules.apply(slot, Move((target.x - x) / longest, (target.y - y) / longest))


def _types(events: list[MatchEvent]) -> list[str]:
    return [event.type for event in events]


def test_the_first_player_starts_the_match() -> None:
    match = _match()
    assert match.tick(NOW) is None
    assert match.tick_number == 0
    match.join("ada", "Ada", NOW)
    events = match.take_events()
    assert _types(events) == ["match.started", "player.joined"]
    assert [event.sequence for event in events] == [1, 2]
    assert events[0].payload == {"mode": "arena", "seats": 2}
    assert events[1].payload == {"player_id": "ada", "display_name": "Ada", "slot": 0}
    assert all(map(needs_snapshot, events))
    assert match.take_events() == []


def test_a_match_without_players_ends() -> None:
    match = _match()
    for _ in range(int(NEVER_JOINED_SECONDS * HZ)):
        match.tick(NOW)
    assert match.ended
    assert match.result is not None
    assert match.result["reason"] == "abandoned"
    assert match.result["players"] == []


def test_a_seat_can_be_taken_again_after_its_player_left() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    seat, _ = match.join("bob", "Bob", NOW)
    with pytest.raises(MatchFullError):
        match.join("eve", "Eve", NOW)
    match.leave(seat.slot, NOW)
    assert match.join("eve", "Eve", NOW)[0].slot == seat.slot


def test_the_number_of_players_who_leave_a_match_is_limited() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)

    def come_and_go() -> None:
        for number in range(100):
            seat, _ = match.join(f"p{number}", "P", NOW)
            match.leave(seat.slot, NOW)

    with pytest.raises(MatchFullError):
        come_and_go()


def test_a_player_who_joins_again_keeps_the_seat_with_a_new_token() -> None:
    match = _match()
    seat, first = match.join("ada", "Ada", NOW)
    again, second = match.join("ada", "Ada", NOW)
    assert again is seat
    assert match.resume(first) is None
    assert match.resume(second) is seat
    assert _types(match.take_events()).count("player.joined") == 1


def test_only_new_inputs_are_applied_and_acknowledged_in_the_next_frame() -> None:
    match = _match()
    seat, _ = match.join("ada", "Ada", NOW)
    match.input(seat, 1, Move(1.0, 0.0))
    match.input(seat, 1, Move(-1.0, 0.0))
    match.input(seat, 3, Move(0.0, 1.0))
    match.input(seat, 2, Move(-1.0, 0.0))
    frame = match.tick(NOW)
    assert isinstance(frame, Frame)
    assert frame.acks == [0, 1, 0, 3]
    following = match.tick(NOW)
    assert isinstance(following, Frame)
    assert following.acks == []


def test_a_quiet_match_still_sends_twice_a_second_and_a_full_frame_every_five() -> None:
    match = _match(duration_seconds=60)
    match.join("ada", "Ada", NOW)
    match.tick(NOW)
    frames = [match.tick(NOW) for _ in range(10 * HZ)]
    sent = [frame for frame in frames if frame is not None]
    assert len([frame for frame in sent if isinstance(frame, Full)]) == 2
    gaps = [number for number, frame in enumerate(frames) if frame is not None]
    assert max(b - a for a, b in itertools.pairwise(gaps)) <= HZ // 2


def test_stored_events_are_sent_once() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    match.acknowledge(match.take_events())
    frame = match.tick(NOW)
    assert isinstance(frame, Frame)
    assert [event.sequence for event in frame.events] == [1, 2]
    assert not getattr(match.tick(NOW), "events", [])


def test_the_match_ends_when_its_time_is_over_and_ranks_its_players() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    match.join("bob", "Bob", NOW)
    for number in range(3 * HZ):
        _chase(match)
        match.tick(NOW + number)
    assert match.ended
    events = match.take_events()
    assert events[-1].type == "match.ended"
    assert events[-1].payload == match.result
    assert match.result is not None
    assert match.result["reason"] == "time"
    first, second = match.result["players"]
    assert (first["player_id"], first["rank"]) == ("ada", 1)
    assert first["score"] == match.rules.scores()[0] > 0
    assert (second["score"], second["rank"]) == (0, 2)
    assert match.tick(NOW) is None
    with pytest.raises(MatchOverError):
        match.join("eve", "Eve", NOW)


def test_equal_scores_share_a_rank() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    match.join("bob", "Bob", NOW)
    match.end("time", NOW)
    assert match.result is not None
    assert [player["rank"] for player in match.result["players"]] == [1, 1]


def test_a_player_who_leaves_and_returns_has_the_sum_of_the_scores() -> None:
    match = _match(duration_seconds=60)
    match.join("bob", "Bob", NOW)
    seat, _ = match.join("ada", "Ada", NOW)
    while not match.rules.scores()[seat.slot]:
        _chase(match, seat.slot)
        match.tick(NOW)
    score = match.rules.scores()[seat.slot]
    match.leave(seat.slot, NOW)
    match.join("ada", "Ada", NOW)
    match.end("time", NOW)
    assert match.result is not None
    assert {p["player_id"]: p["score"] for p in match.result["players"]} == {"ada": score, "bob": 0}


def test_the_match_is_over_when_the_last_player_leaves() -> None:
    match = _match()
    seat, _ = match.join("ada", "Ada", NOW)
    match.leave(seat.slot, NOW)
    assert match.ended
    assert match.reason == "abandoned"


def test_a_restored_match_continues_where_it_stopped() -> None:
    match = _match()
    seat, token = match.join("ada", "Ada", NOW)
    match.input(seat, 5, Move(1.0, 0.0))
    for number in range(10):
        match.tick(NOW + number)
    restored = _restore(match)
    assert restored.tick_number == match.tick_number
    assert restored.sequence == match.sequence
    assert restored.started
    held = restored.resume(token)
    assert held is not None
    assert (held.player_id, held.sequence, held.connected) == ("ada", 5, False)
    for number in range(10, 70):
        match.tick(NOW + number)
        restored.tick(NOW + number)
    assert restored.result == match.result


def test_events_stored_after_the_snapshot_are_replayed() -> None:
    match = _match(duration_seconds=60)
    match.join("ada", "Ada", NOW)
    match.take_events()
    snapshot = match.snapshot()
    while not match.has_events:
        _chase(match)
        match.tick(NOW)
    events = match.take_events()
    restored = Match.restore(match.spec, HZ, snapshot, events)
    assert restored.rules.scores() == match.rules.scores()
    assert restored.sequence == match.sequence
    assert restored.take_events() == []
    assert not any(map(needs_snapshot, events))


class Dealer(Arena):
    """Implements an arena that reports the events in `reports`."""

    event_types: ClassVar[dict[str, Any]] = {"card.dealt": dict}
    reports: ClassVar[list[RuleEvent]] = []

    def step(self) -> list[RuleEvent]:
        return self.reports


def test_a_declared_event_is_recorded_with_its_player(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Dealer)
    match = _match()
    match.join("ada", "Ada", NOW)
    match.take_events()
    # Slot 1 has no player, so the match drops the second event.
    reports = [RuleEvent("card.dealt", 0, {"cards": (1, 2)}), RuleEvent("card.dealt", 1, {})]
    monkeypatch.setattr(Dealer, "reports", reports)
    match.tick(NOW)
    assert match.take_events() == [MatchEvent(3, "card.dealt", NOW, {"player_id": "ada", "slot": 0, "cards": [1, 2]})]


@pytest.mark.parametrize("slot", [0, 1])
def test_an_event_that_is_not_declared_is_not_recorded(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Dealer)
    match = _match()
    match.join("ada", "Ada", NOW)
    match.take_events()
    monkeypatch.setattr(Dealer, "reports", [RuleEvent("card.dealt", 0, {}), RuleEvent("card.burnt", slot, {})])
    with pytest.raises(RefusedEvent):
        match.tick(NOW)
    assert _types(match.take_events()) == ["card.dealt"]


class Counter(Arena):
    """Implements an arena whose scores are the values in `totals`."""

    totals: ClassVar[Any] = {}

    def scores(self) -> dict[int, int]:
        if isinstance(self.totals, Exception):
            raise self.totals
        return self.totals


BAD_SCORES = [{0: 1.5}, {0: 2**53 + 1}, {0: "9"}, {0: None}, {"first": 1}, None, [1, 2], RuntimeError("no scores")]


@pytest.mark.parametrize("totals", BAD_SCORES, ids=repr)
def test_scores_that_cannot_be_stored_end_the_match_with_an_error(
    monkeypatch: pytest.MonkeyPatch, totals: object
) -> None:
    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Counter)
    monkeypatch.setattr(Counter, "totals", totals)
    match = _match()
    match.join("ada", "Ada", NOW)
    match.end("time", NOW)
    ended = match.take_events()[-1]
    assert match.reason == "error"
    assert match.fault is not None
    assert parse(encode(ended, match.spec.match_id, "eu-west-1", "s1")).payload.reason == "error"


@pytest.mark.parametrize("totals", BAD_SCORES, ids=repr)
def test_a_player_who_leaves_with_an_invalid_score_ends_the_match(
    monkeypatch: pytest.MonkeyPatch, totals: object
) -> None:
    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Counter)
    monkeypatch.setattr(Counter, "totals", totals)
    match = _match()
    match.join("ada", "Ada", NOW)
    match.join("bob", "Bob", NOW)
    match.leave(0, NOW)
    assert (match.ended, match.reason) == (True, "error")


def test_a_player_who_returns_often_has_a_sum_that_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Counter)
    monkeypatch.setattr(Counter, "totals", {0: LARGEST_SCORE})
    match = _match()
    match.join("bob", "Bob", NOW)
    match.join("ada", "Ada", NOW)
    match.leave(0, NOW)
    match.join("bob", "Bob", NOW)
    match.end("time", NOW)
    ended = match.take_events()[-1]
    scores = {
        player.player_id: player.score for player in parse(encode(ended, "m1", "eu-west-1", "s1")).payload.players
    }
    assert (match.reason, scores) == ("time", {"bob": LARGEST_SCORE, "ada": 0})


def test_events_that_the_snapshot_covers_are_not_replayed_again() -> None:
    match = _match(duration_seconds=60)
    match.join("ada", "Ada", NOW)
    while "player.scored" not in _types(match._events):
        _chase(match)
        match.tick(NOW)
    stale = [
        MatchEvent(event.sequence, event.type, event.occurred_at_ms, {**event.payload, "score": 999, "pick_up": 0})
        for event in match.take_events()
    ]
    assert _restore(match, stale).rules.scores() == match.rules.scores()


def test_a_restored_match_never_uses_a_sequence_number_again() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    match.take_events()
    restored = Match.restore(match.spec, HZ, match.snapshot(), used_sequence=8)
    restored.join("bob", "Bob", NOW)
    assert [event.sequence for event in restored.take_events()] == [9]
    newer = Match.restore(match.spec, HZ, match.snapshot(), used_sequence=1)
    newer.join("bob", "Bob", NOW)
    assert [event.sequence for event in newer.take_events()] == [3]


def test_an_ended_match_is_restored_as_ended() -> None:
    match = _match()
    match.join("ada", "Ada", NOW)
    match.end("time", NOW)
    restored = _restore(match)
    assert restored.ended
    assert restored.result == match.result


@pytest.mark.parametrize("snapshot", [b"", b"\xc1", b"\x80", b"not msgpack"])
def test_a_damaged_snapshot_is_refused(snapshot: bytes) -> None:
    with pytest.raises(ValueError, match="damaged state"):
        Match.restore(_spec(), HZ, snapshot)


def test_a_state_that_the_rules_refuse_is_reported_as_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = _match().snapshot()

    class Others(Arena):
        def load(self, state: Any) -> None:
            raise KeyError("boards")

    monkeypatch.setattr("gameserver.match.load_rules", lambda _: Others)
    with pytest.raises(ValueError, match="damaged state: KeyError: 'boards'"):
        Match.restore(_spec(), HZ, snapshot)


def test_an_aborted_match_has_ended_after_its_last_stored_event() -> None:
    match = Match.aborted(_spec(), HZ, 7, NOW)
    [event] = match.take_events()
    assert (event.sequence, event.type) == (8, "match.ended")
    assert event.payload == match.result
    assert match.result is not None
    assert (match.result["reason"], match.result["players"]) == ("aborted", [])


def test_a_snapshot_of_another_version_is_refused() -> None:
    match = _match()
    other = match.snapshot().replace(b"version\x01", b"version\x09")
    with pytest.raises(UnknownVersion, match="version 9"):
        Match.restore(_spec(), HZ, other)


def test_unknown_rules_are_an_error() -> None:
    with pytest.raises(LookupError):
        _match(rules="chess")
