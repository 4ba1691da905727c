"""docs/writing-a-game.md names every method of the interfaces that a studio implements."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gameserver.rules import Pilot, Rules

PAGE = (Path(__file__).parents[4] / "docs" / "writing-a-game.md").read_text()


@pytest.mark.parametrize(("heading", "interface"), [("What the server calls", Rules), ("Bots", Pilot)])
def test_every_method_is_in_the_table(heading: str, interface: type) -> None:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)\(", row.split("|")[1])}
    defined = {name for name, value in vars(interface).items() if callable(value) and not name.startswith("_")}
    assert named - {"__init__"} == defined
