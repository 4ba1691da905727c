"""Checks docs/writing-a-game.md: it names every method that a studio implements, and its example of rules works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gameserver.events import MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH
from gameserver.rules import Pilot, RuleEvent, Rules, reportable_events

PAGE = (Path(__file__).parents[4] / "docs" / "writing-a-game.md").read_text()


@pytest.mark.parametrize(("heading", "interface"), [("Methods of the rules", Rules), ("Bots", Pilot)])
def test_the_page_lists_every_method_of_the_interface(heading: str, interface: type) -> None:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)\(", row.split("|")[1])}
    defined = {name for name, value in vars(interface).items() if callable(value) and not name.startswith("_")}
    assert named - {"__init__"} == defined


def test_the_example_rules_of_the_page_report_declared_events() -> None:
    section = PAGE.split("\n## Events\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    module: dict[str, Any] = {"__name__": "cards"}
    # Use `dont_inherit`, because the page's code does not have this module's `from __future__ import annotations`.
    exec(compile(code, "writing-a-game.md", "exec", dont_inherit=True), module)  # noqa: S102
    rules = module["Cards"](seed=1, seats=2, tick_rate_hz=20)
    rules.apply(0, module["CardPlayed"](7))
    [event] = rules.step()
    assert reportable_events(module["Cards"]).check(event) == {"card": 7}
    assert reportable_events(module["Cards"]).check(RuleEvent("deck.shuffled", 0, {"left": 45})) == {"left": 45}


def test_the_page_states_the_limits_of_the_server() -> None:
    assert f"more than {MAX_PAYLOAD_BYTES:,} bytes as JSON" in PAGE
    assert f"nested more than {MAX_PAYLOAD_DEPTH} levels deep" in PAGE
