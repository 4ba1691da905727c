from __future__ import annotations

from dataclasses import replace

import pytest

from mjctl.clients.records import MatchInStores, PlayerTotals
from mjctl.loadtest.model import EndedMatch, Verification
from mjctl.loadtest.verify import judge

SCORES = {"ann": 5, "bob": 3}
WHOLE = MatchInStores("m1", "ended", SCORES, "ended", SCORES)
SEEN = {"m1": EndedMatch("m1", SCORES)}
STANDINGS = {"ann": PlayerTotals(1, 5), "bob": PlayerTotals(1, 3)}


def look(
    record: MatchInStores = WHOLE,
    standings: dict[str, PlayerTotals] | None = STANDINGS,
    seen: dict[str, EndedMatch] = SEEN,
) -> Verification:
    return judge({"m1": record}, standings, seen, waited_seconds=0)


def test_a_match_that_is_whole_everywhere_is_complete() -> None:
    assert look().complete


def test_a_match_whose_end_no_bot_saw_still_has_to_be_kept() -> None:
    assert look(seen={}).complete
    assert look(MatchInStores("m1"), {}, {}).missing == ("m1",)


@pytest.mark.parametrize("state", [None, "running"])
def test_a_match_that_has_not_ended_in_one_store_is_missing(state: str | None) -> None:
    assert look(replace(WHOLE, table_state=state)).missing_in_table == ("m1",)
    found = look(replace(WHOLE, database_state=state), {})
    assert found.missing_in_database == ("m1",)
    assert found.missing == ("m1",)


def test_a_player_row_that_is_missing_is_named_with_its_match() -> None:
    found = look(replace(WHOLE, database_scores={"ann": 5}), {"ann": PlayerTotals(1, 5)})
    assert found.missing_players_in_database == ("m1/bob",)
    assert found.missing == ("m1",)


def test_scores_that_differ_from_what_the_players_saw_are_wrong() -> None:
    assert look(replace(WHOLE, table_scores={"ann": 6, "bob": 3})).wrong_scores == ("m1",)
    assert look(seen={"m1": EndedMatch("m1", {"ann": 5, "bob": 4})}).wrong_scores == ("m1",)


def test_a_match_counted_twice_shows_in_the_standings() -> None:
    assert look(standings={**STANDINGS, "ann": PlayerTotals(2, 10)}).duplicated == ("ann",)


def test_a_standing_that_is_missing_or_off_is_counted_wrongly() -> None:
    assert look(standings={"ann": PlayerTotals(1, 5)}).counted_wrongly == ("bob",)
    assert look(standings={**STANDINGS, "bob": PlayerTotals(1, 4)}).counted_wrongly == ("bob",)


def test_after_an_interruption_standings_are_not_compared() -> None:
    assert look(standings=None).complete
