"""Tests that a process reports a fault in a rules module in one line when it starts, before the first match."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from gameserver.modes import check_modes
from gameserver.rules import load_pilot
from gameserver.runtime.settings import DEFAULT_MODES, Mode, Settings, SettingsError

GOOD = """
from typing import Annotated, Any
from msgspec import Meta


class Countdown:
    action_type: Any = Annotated[int, Meta(ge=0, le=9)]
    event_types = {"count.down": dict}

    def __init__(self, *, seed, seats, tick_rate_hz):
        if seats < 2:
            raise ValueError("needs two players")

    def add_player(self, slot): ...
    def remove_player(self, slot): ...
    def apply(self, slot, action): ...
    def step(self): return []
    def changes(self): return None
    def view(self): return {"left": 3}
    def scores(self): return {}
    def finished(self): return False
    def replay(self, event): ...
    def dump(self): return [3]
    def load(self, state): ...


rules = Countdown
"""


class Studio:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def module(self, text: str) -> str:
        """Write a rules module outside of the package, and return its dotted name."""
        package = f"studio_{uuid.uuid4().hex}"
        (self._folder / package).mkdir()
        (self._folder / package / "game.py").write_text(text)
        return f"{package}.game"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.syspath_prepend(tmp_path)
    return Studio(tmp_path)


def _settings(*modes: Mode) -> Settings:
    return Settings(project="p", environment="e", region="r", modes=modes)


def test_bundled_rules_and_rules_of_another_package_are_accepted(studio: Studio) -> None:
    check_modes(_settings(*DEFAULT_MODES, Mode("duel", 2, 300, "noughts"), Mode("count", 2, 5, studio.module(GOOD))))


@pytest.mark.parametrize(
    ("right", "wrong", "cause"),
    [
        ("def step(self): return []", "def step(self) return []", "SyntaxError"),
        ("rules = Countdown", "rules = Countdwon", "name 'Countdwon' is not defined"),
        ("rules = Countdown", "rule = Countdown", "has no attribute 'rules'"),
        ("def load(self, state): ...", "", "lacks the methods load"),
        ("*, seed, seats, tick_rate_hz", "seed, seats", "unexpected keyword argument 'tick_rate_hz'"),
        ("seats < 2", "seats < 3", "needs two players"),
        ("Annotated[int, Meta(ge=0, le=9)]", "object()", "object"),
        ("return [3]", "return object()", "Encoding objects of type object is unsupported"),
        ("from msgspec import Meta", "from msgspeck import Meta", "No module named 'msgspeck'"),
        ('"count.down": dict', '"player.counted": dict', "event_types: 'player.counted' is no type like"),
        ('"count.down": dict', '"count.down": object()', "is not supported"),
    ],
)
def test_a_mode_that_cannot_be_played_is_reported_in_one_line(
    studio: Studio, right: str, wrong: str, cause: str
) -> None:
    assert right in GOOD
    broken = studio.module(GOOD.replace(right, wrong))
    with pytest.raises(SettingsError) as raised:
        check_modes(_settings(Mode("count", 2, 5, broken)))
    text = str(raised.value)
    assert text.startswith("GAMESERVER_MODES: mode 'count' cannot be played: ")
    assert cause in text
    assert "\n" not in text


def test_bots_play_without_a_pilot_and_without_the_rules_module(studio: Studio) -> None:
    assert load_pilot(studio.module(GOOD)) is None
    assert load_pilot(studio.module(f"{GOOD}\n\nclass Pilot: ...\n\n\npilot = Pilot\n")) is not None
    assert load_pilot("studio_that_is.elsewhere") is None
