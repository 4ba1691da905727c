from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gameserver.rules import RuleEvent, load_rules
from gameserver.rules.arena import FIELD, REACH, Arena, Move, View

actions = st.tuples(st.integers(0, 3), st.floats(-1, 1), st.floats(-1, 1))
scripts = st.lists(st.lists(actions, max_size=3), max_size=60)


def _play(arena: Arena, script: list[list[tuple[int, float, float]]]) -> list[RuleEvent]:
    events = []
    for turn in script:
        for slot, x, y in turn:
            arena.apply(slot, Move(x, y))
        events += arena.step()
    return events


def _arena(seed: int = 7, players: int = 3) -> Arena:
    arena = Arena(seed=seed, seats=4, tick_rate_hz=20)
    for slot in range(players):
        arena.add_player(slot)
    return arena


def _move_over(arena: Arena, slot: int) -> RuleEvent:
    """Run to the nearest pick-up, and return the event of its collection."""
    for _ in range(200):
        view = arena.view()
        x, y, _score = view.players[slot]
        nearest = min(view.pick_ups, key=lambda p: (p.x - x) ** 2 + (p.y - y) ** 2)
        dx, dy = nearest.x - x, nearest.y - y
        longest = max(abs(dx), abs(dy), 1)
        arena.apply(slot, Move(dx / longest, dy / longest))
        if events := arena.step():
            return events[0]
    pytest.fail("no pick-up was reached")


@given(seed=st.integers(0, 2**64 - 1), script=scripts)
@settings(max_examples=50, deadline=None)
def test_the_same_seed_and_inputs_give_the_same_game(seed: int, script: Any) -> None:
    first, second = _arena(seed), _arena(seed)
    assert _play(first, script) == _play(second, script)
    assert first.dump() == second.dump()


@given(before=scripts, after=scripts)
@settings(max_examples=50, deadline=None)
def test_a_game_continues_unchanged_after_a_move_to_another_server(before: Any, after: Any) -> None:
    stayed = _arena()
    _play(stayed, before)
    moved = Arena(seed=99, seats=4, tick_rate_hz=20)
    moved.load(msgspec.msgpack.decode(msgspec.msgpack.encode(stayed.dump())))
    assert _play(moved, after) == _play(stayed, after)
    assert moved.dump() == stayed.dump()


@given(script=scripts)
@settings(max_examples=50, deadline=None)
def test_the_changes_of_every_tick_add_up_to_the_view(script: Any) -> None:
    arena = _arena()
    view = arena.view()
    places = {slot: (x, y) for slot, (x, y, _) in view.players.items()}
    scores = {slot: score for slot, (_, _, score) in view.players.items()}
    pick_ups = {pick_up.id: pick_up for pick_up in view.pick_ups}
    for turn in script:
        _play(arena, [turn])
        changes = arena.changes()
        if changes is None:
            continue
        moved, scored = changes.moved, changes.scores
        places |= {moved[i]: (moved[i + 1], moved[i + 2]) for i in range(0, len(moved), 3)}
        scores |= {scored[i]: scored[i + 1] for i in range(0, len(scored), 2)}
        pick_ups |= {pick_up.id: pick_up for pick_up in changes.spawned}
        for taken in changes.taken:
            del pick_ups[taken]
    final = arena.view()
    assert final.players == {slot: (*places[slot], scores[slot]) for slot in places}
    assert {pick_up.id: pick_up for pick_up in final.pick_ups} == pick_ups


@given(script=scripts)
@settings(max_examples=50, deadline=None)
def test_players_stay_in_the_field_and_below_the_highest_speed(script: Any) -> None:
    arena = _arena()
    before = arena.view()
    for turn in script:
        _play(arena, [turn])
        after = arena.view()
        for slot, (x, y, _) in after.players.items():
            assert 0 <= x <= FIELD
            assert 0 <= y <= FIELD
            old_x, old_y, _ = before.players[slot]
            assert (x - old_x) ** 2 + (y - old_y) ** 2 <= 15**2
        before = after


def test_a_pick_up_is_worth_its_points_once() -> None:
    arena = _arena(players=1)
    event = _move_over(arena, 0)
    assert event.type == "player.scored"
    assert event.payload["score"] == event.payload["points"] == arena.scores()[0]
    assert event.payload["pick_up"] not in {pick_up.id for pick_up in arena.view().pick_ups}


def test_a_player_who_stands_on_a_pick_up_can_reach_it_from_every_side() -> None:
    arena = _arena(players=1)
    pick_up = arena.view().pick_ups[0]
    for dx, dy in ((REACH - 1, 0), (1 - REACH, 0), (0, REACH - 1), (0, 1 - REACH)):
        state = arena.dump()
        other = Arena(seed=1, seats=4, tick_rate_hz=20)
        other.load(msgspec.msgpack.decode(msgspec.msgpack.encode(state)))
        other._runners[0].x, other._runners[0].y = pick_up.x + dx, pick_up.y + dy
        assert pick_up.id in {event.payload["pick_up"] for event in other.step()}


def test_a_replay_restores_the_effect_of_an_event_after_the_snapshot() -> None:
    arena = _arena(players=2)
    saved = msgspec.msgpack.encode(arena.dump())
    event = _move_over(arena, 1)
    restored = Arena(seed=7, seats=4, tick_rate_hz=20)
    restored.load(msgspec.msgpack.decode(saved))
    restored.replay(event)
    assert restored.scores()[1] == event.payload["score"]
    assert event.payload["pick_up"] not in {pick_up.id for pick_up in restored.view().pick_ups}


def test_a_player_who_left_is_not_in_the_field() -> None:
    arena = _arena(players=2)
    arena.changes()
    arena.remove_player(1)
    changes = arena.changes()
    assert changes is not None
    assert changes.left == [1]
    assert set(arena.scores()) == {0}
    arena.apply(1, Move(1.0, 0.0))
    assert arena.step() == []


def test_the_view_is_what_clients_decode() -> None:
    view = _arena().view()
    for encoding in (msgspec.msgpack, msgspec.json):
        assert msgspec.convert(encoding.decode(encoding.encode(view)), View, strict=False) == view


@pytest.mark.parametrize("state", [None, {}, {"random": "x"}, []])
def test_a_damaged_state_is_refused(state: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        _arena().load(state)


def test_rules_are_found_by_name() -> None:
    assert load_rules("arena") is Arena
    assert load_rules("gameserver.rules.arena") is Arena
    with pytest.raises(LookupError):
        load_rules("chess")
    with pytest.raises(LookupError):
        load_rules("gameserver.runtime.settings")
