"""Tests the sample of sentences."""

from __future__ import annotations

import pytest

from tools.prose import sample
from tools.prose.passages import Kind, Passage


@pytest.fixture(autouse=True)
def passages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the repository by ten passages of each kind, each with a short sentence and a long one."""
    listed = [
        Passage("file.py", line, kind, f"Short one. The {kind} has number {line} here.")
        for kind in Kind
        for line in range(1, 11)
    ]
    monkeypatch.setattr(sample, "all_passages", lambda: iter(listed))


def test_the_same_seed_draws_the_same_sentences() -> None:
    assert sample.draw(7, 5) == sample.draw(7, 5)
    assert sample.draw(7, 5) != sample.draw(8, 5)


def test_each_group_has_its_number_of_sentences_and_its_kinds() -> None:
    drawn = sample.draw(7, 5)
    assert [group for group, _, _ in drawn] == ["comment"] * 5 + ["docstring"] * 5 + ["help and docs"] * 5
    assert {sentence.split()[1] for group, _, sentence in drawn if group == "help and docs"} <= {"message", "page"}


def test_a_sentence_has_its_place_and_at_least_four_words() -> None:
    for _, place, sentence in sample.draw(7, 10):
        assert place == f"file.py:{sentence.split()[-2]}"
        assert len(sentence.split()) >= 4


def test_a_small_group_is_drawn_whole() -> None:
    assert len([group for group, _, _ in sample.draw(7, 1000) if group == "comment"]) == 10
