"""Tests that differences are compared with the list of known differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.recorded_answers.known_differences import DuplicateDifferenceError, load, unlisted, vanished

FILE = """
- reason: No program reads the name.
  differences:
    "kms test_a read": ["missing $.Name", "extra $.Size"]
- reason: AWS has changed.
  differences:
    "kms.DescribeKey": ["unknown $.Name"]
    "sqs test_b send": ["value $.Id"]
"""


def test_a_known_difference_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(FILE, encoding="utf-8")
    known = load(tmp_path / "known.yaml")
    assert known["kms test_a read", "extra $.Size"].reason == "No program reads the name."
    assert len(known) == 4


def test_new_and_vanished_differences_are_reported(tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(FILE, encoding="utf-8")
    known = load(tmp_path / "known.yaml")
    differences = {"kms test_a read": ["missing $.Name", "value $.Id"], "kms.DescribeKey": ["unknown $.Name"]}
    assert unlisted(differences, known) == {"kms test_a read": ["value $.Id"]}
    assert vanished(differences, known, {"kms"}) == [("kms test_a read", "extra $.Size")]
    assert ("sqs test_b send", "value $.Id") in vanished(differences, known, {"kms", "sqs"})


def test_a_difference_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(FILE + FILE, encoding="utf-8")
    with pytest.raises(DuplicateDifferenceError, match="missing"):
        load(tmp_path / "known.yaml")


def test_each_known_difference_of_the_repository_has_a_reason() -> None:
    known = load()
    assert known
    assert all(len(entry.reason) > 20 for entry in known.values())
