from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.rules import RuleEvent, load_rules
from gameserver.rules.noughts import EMPTY, NoughtsAndCrosses, Place

moves = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), max_size=40)


def _game() -> NoughtsAndCrosses:
    game = NoughtsAndCrosses(seed=1, seats=2, tick_rate_hz=20)
    game.add_player(0)
    game.add_player(1)
    return game


def _play(game: NoughtsAndCrosses, cells: list[int]) -> list[RuleEvent]:
    events = []
    for cell in cells:
        game.apply(game.view().turn, Place(cell))
        events += game.step()
    return events


def _state(game: NoughtsAndCrosses) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(game.dump()))


def test_the_rules_are_found_by_their_name() -> None:
    assert load_rules("noughts") is NoughtsAndCrosses


def test_three_in_a_row_win_a_point_and_end_the_game() -> None:
    game = _game()
    events = _play(game, [0, 3, 1, 4, 2])
    assert game.finished()
    assert game.scores() == {0: 1, 1: 0}
    assert [event.payload["points"] for event in events] == [0, 0, 0, 0, 1]


def test_a_full_board_is_a_draw() -> None:
    game = _game()
    _play(game, [0, 1, 2, 4, 3, 5, 7, 6, 8])
    assert game.finished()
    assert game.scores() == {0: 0, 1: 0}


def test_a_move_out_of_turn_onto_a_mark_or_without_opponent_is_ignored() -> None:
    game = _game()
    game.apply(1, Place(0))
    assert game.step() == []
    _play(game, [0])
    game.apply(1, Place(0))
    assert game.step() == []
    game.remove_player(0)
    game.apply(1, Place(1))
    assert game.step() == []


def test_each_change_is_reported_once() -> None:
    game = _game()
    assert game.changes() is not None
    assert game.changes() is None
    _play(game, [4])
    assert game.changes() is game.view()


@given(script=moves)
def test_any_moves_keep_to_the_rules_and_survive_a_hand_over(script: list[tuple[int, int]]) -> None:
    game, follower = _game(), _game()
    for slot, cell in script:
        game.apply(slot, Place(cell))
        twin = NoughtsAndCrosses(seed=1, seats=2, tick_rate_hz=20)
        twin.load(_state(game))
        assert _state(twin) == _state(game)
        for event in game.step():
            follower.replay(event)
        assert _state(follower) == _state(game)
    cells = game.view().cells
    assert 0 <= cells.count(0) - cells.count(1) <= 1
    assert game.finished() == (sum(game.scores().values()) == 1 or EMPTY not in cells)


@pytest.mark.parametrize("state", [None, {"board": {"cells": [0]}, "moves": []}])
def test_a_damaged_state_is_refused(state: Any) -> None:
    with pytest.raises((ValueError, msgspec.ValidationError)):
        _game().load(state)
