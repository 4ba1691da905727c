"""Tests of bots in games other than the bundled arena, as a studio's health checks and load tests use them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gameserver.client import Bot, PilotError

# A game in which nothing happens, in a module of the studio.
STILL = """
class Still:
    action_type = bool

    def __init__(self, *, seed, seats, tick_rate_hz):
        self.present = []

    def add_player(self, slot):
        self.present.append(slot)

    def remove_player(self, slot):
        self.present.remove(slot)

    def apply(self, slot, action): ...
    def step(self): return []
    def changes(self): return None
    def view(self): return self.present
    def scores(self): return dict.fromkeys(self.present, 0)
    def finished(self): return False
    def replay(self, event): ...
    def dump(self): return self.present

    def load(self, state):
        self.present = state


rules = Still
"""
FAULTY_PILOT = """

class Faulty:
    def __init__(self, slot): ...
    def look(self, view): ...
    def learn(self, changes): ...
    def decide(self): return self.plan


pilot = Faulty
"""


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return the function `studio(text)`, which writes an importable module and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(text: str) -> str:
        package = f"studio_{uuid.uuid4().hex}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "game.py").write_text(text)
        return f"{package}.game"

    return module


async def _seats(start: Any, new_match: Any, player: Any, rules: str) -> list[Any]:
    server = await start()
    identity = server.host.identity
    spec = await new_match(identity.server_id, seconds=1.5 if "." in rules else 30.0, seats=2, rules=rules)
    return [await player(name).join((spec.match_id, identity.url)) for name in ("ada", "bob")]


async def test_bots_take_turns_until_a_row_is_full(start: Any, new_match: Any, player: Any) -> None:
    ada, bob = await asyncio.gather(
        *(Bot(seat).play() for seat in await _seats(start, new_match, player, "noughts")),
    )
    assert ada.result == bob.result
    assert ada.result["reason"] == "finished"
    # The players fill the board from the top left in turn, so the first player has the corners and the middle.
    assert [(p["player_id"], p["score"]) for p in ada.result["players"]] == [("ada", 1), ("bob", 0)]
    assert ada.inputs >= 4
    assert ada.latency_ms


async def test_a_bot_without_a_pilot_watches_the_match_to_its_end(
    start: Any, new_match: Any, player: Any, studio: Callable[[str], str]
) -> None:
    seats = await _seats(start, new_match, player, studio(STILL))
    reports = await asyncio.gather(*(Bot(seat).play() for seat in seats))
    assert [report.result["reason"] for report in reports] == ["time", "time"]
    assert [report.inputs for report in reports] == [0, 0]


async def test_a_fault_in_a_pilot_ends_its_bot_and_names_the_rules(
    start: Any, new_match: Any, player: Any, studio: Callable[[str], str]
) -> None:
    rules = studio(STILL + FAULTY_PILOT)
    seats = await _seats(start, new_match, player, rules)
    with pytest.raises(PilotError, match=rf"pilot of the rules '{rules}' failed: AttributeError: .*'plan'"):
        await Bot(seats[0]).play()
