"""Tests that every mutant fits the code. `make mutants` shows that a test detects each mutant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.mutants.mutants import MUTANTS, Mutant
from tools.mutants.run import ROOT, StaleMutantError, broken


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_the_code_it_names(mutant: Mutant) -> None:
    whole = (ROOT / mutant.file).read_text(encoding="utf-8")
    text = broken(mutant)
    assert text != whole
    compile(text, mutant.file, "exec")


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old": "no such text"}, "occurs 0 times"),
        ({"old": "def "}, "occurs"),
        ({"file": "mjctl/nowhere.py"}, "occurs 0 times"),
        ({"tests": ("tests/unit/test_nowhere.py",)}, "there is no tests/unit/test_nowhere.py"),
    ],
)
def test_a_mutant_without_its_text_or_test_is_an_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(StaleMutantError, match=message):
        broken(replace(MUTANTS[0], **change))  # type: ignore[arg-type]
