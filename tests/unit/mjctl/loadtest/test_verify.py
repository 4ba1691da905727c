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


def test_a_match_in_both_stores_is_complete() -> None:
    assert look().complete


def test_a_match_whose_end_no_bot_saw_must_be_stored_too() -> None:
    assert look(seen={}).complete
    assert look(MatchInStores("m1"), {}, {}).missing == ("m1",)


@pytest.mark.parametrize("state", [None, "running"])
def test_a_match_that_has_not_ended_in_one_store_is_missing(state: str | None) -> None:
    assert look(replace(WHOLE, table_state=state)).missing_in_table == ("m1",)
    verification = look(replace(WHOLE, database_state=state), {})
    assert verification.missing_in_database == ("m1",)
    assert verification.missing == ("m1",)


def test_a_missing_player_row_is_reported_with_its_match() -> None:
    verification = look(replace(WHOLE, database_scores={"ann": 5}), {"ann": PlayerTotals(1, 5)})
    assert verification.missing_players_in_database == ("m1/bob",)
    assert verification.missing == ("m1",)


def test_scores_that_differ_from_the_bots_scores_are_wrong() -> None:
    assert look(replace(WHOLE, table_scores={"ann": 6, "bob": 3})).wrong_scores == ("m1",)
    assert look(seen={"m1": EndedMatch("m1", {"ann": 5, "bob": 4})}).wrong_scores == ("m1",)


def test_the_standings_show_a_match_that_was_counted_twice() -> None:
    assert look(standings={**STANDINGS, "ann": PlayerTotals(2, 10)}).duplicated == ("ann",)


def test_a_missing_or_wrong_standing_is_reported() -> None:
    assert look(standings={"ann": PlayerTotals(1, 5)}).counted_wrongly == ("bob",)
    assert look(standings={**STANDINGS, "bob": PlayerTotals(1, 4)}).counted_wrongly == ("bob",)


def test_after_an_interruption_standings_are_not_compared() -> None:
    assert look(standings=None).complete
