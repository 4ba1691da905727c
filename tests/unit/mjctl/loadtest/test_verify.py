from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gameserver.client import ApiError
from mjctl.clients.records import MatchInStores, PlayerTotals
from mjctl.loadtest import verify
from mjctl.loadtest.model import EndedMatch, LoadTally, Verification
from mjctl.loadtest.verify import judge
from mjctl.models.contract import Contract
from mjctl.models.errors import UnreachableError

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


class BotWithProfile:
    def __init__(self, player_id: str, matches: int, total_score: int) -> None:
        self._profile = {"player_id": player_id, "matches": matches, "total_score": total_score}

    async def profile(self) -> dict[str, object]:
        return self._profile


@pytest.mark.parametrize(("bob", "wrong"), [((1, 3), ()), ((0, 0), ("bob",))])
async def test_a_private_database_is_seen_through_the_profiles_of_the_bots(
    make_contract: Callable[..., Contract],
    monkeypatch: pytest.MonkeyPatch,
    bob: tuple[int, int],
    wrong: tuple[str, ...],
) -> None:
    with_database: list[bool] = []

    async def read_matches(*_: object, database: bool) -> dict[str, MatchInStores]:
        with_database.append(database)
        return {"m1": replace(WHOLE, database_state=None, database_scores={})}

    monkeypatch.setattr(verify, "read_matches", read_matches)
    private = {"host": "x", "port": 1, "name": "x", "user": "x", "secret": "file:/x", "tls": True, "access": "private"}
    bots: Any = [BotWithProfile("ann", 1, 5), BotWithProfile("bob", *bob)]
    tally = LoadTally(started={"m1"}, ended=dict(SEEN), signed_up={"a": "ann", "b": "bob"})
    verification = await verify.verify(make_contract(database=private), tally, bots, settle_seconds=0)
    assert verification.counted_wrongly == wrong
    assert verification.complete == (wrong == ())
    assert set(with_database) == {False}


@pytest.mark.parametrize(("settle_seconds", "fails"), [(0, True), (60, False)])
async def test_an_api_that_answers_late_is_asked_again_until_the_results_must_be_stored(
    make_contract: Callable[..., Contract], monkeypatch: pytest.MonkeyPatch, settle_seconds: float, *, fails: bool
) -> None:
    class LateBot(BotWithProfile):
        late = True

        async def profile(self) -> dict[str, object]:
            if self.late:
                self.late = False
                raise ApiError(0, "unreachable", "TimeoutError")
            return await super().profile()

    async def read_matches(*_: object, database: bool) -> dict[str, MatchInStores]:
        return {"m1": replace(WHOLE, database_state=None, database_scores={})}

    monkeypatch.setattr(verify, "read_matches", read_matches)
    monkeypatch.setattr(verify, "_LOOK_INTERVAL_SECONDS", 0)
    private = {"host": "x", "port": 1, "name": "x", "user": "x", "secret": "file:/x", "tls": True, "access": "private"}
    bots: Any = [LateBot("ann", 1, 5), BotWithProfile("bob", 1, 3)]
    tally = LoadTally(started={"m1"}, ended=dict(SEEN), signed_up={"a": "ann", "b": "bob"})
    checked = verify.verify(make_contract(database=private), tally, bots, settle_seconds=settle_seconds)
    if fails:
        with pytest.raises(UnreachableError):
            await checked
    else:
        assert (await checked).complete
