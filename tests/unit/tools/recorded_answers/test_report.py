"""Tests the report of a comparison: the counts, the exit code, the text and the JSON object."""

from __future__ import annotations

import json

from tools.recorded_answers.comparison import Difference
from tools.recorded_answers.known_differences import KnownDifference
from tools.recorded_answers.report import Compared, Report

EQUAL = Compared("kms", "test_a", "first", "kms.describe_key", ())
MESSAGE = Compared("kms", "test_a", "second", "kms.encrypt", (Difference("message", "$.Error.Message", "another"),))
MISSING = Compared("sqs", "test_b", "third", "sqs.receive_message", (Difference("missing", "$.Id"),))


def report(*known: tuple[str, str]) -> Report:
    listed = {key: KnownDifference(*key, "No program reads it.") for key in known}
    return Report("c0ffee", "Apache", [EQUAL, MESSAGE, MISSING], {"sqs.Send": ["unknown $.A"]}, 6, listed, 1.0)


KNOWN = (
    ("kms test_a second", "message $.Error.Message"),
    ("sqs test_b third", "missing $.Id"),
    ("sqs.Send", "unknown $.A"),
)


def test_the_same_answers_are_counted_by_service() -> None:
    assert report().counts() == {
        "kms": {"same": 1, "same_but_message": 2, "compared": 2},
        "sqs": {"same": 0, "same_but_message": 0, "compared": 1},
    }


def test_a_run_fails_for_a_new_or_a_vanished_difference_only() -> None:
    assert not report(*KNOWN).failed
    assert report(*KNOWN[1:]).unlisted == {"kms test_a second": ["message $.Error.Message"]}
    assert report(*KNOWN[1:]).failed
    assert report(*KNOWN, ("kms test_a first", "missing $.A")).failed
    assert not report(*KNOWN, ("ec2 test_c fourth", "missing $.A")).failed


def test_a_listed_difference_may_be_absent_from_the_stage() -> None:
    run = report(*KNOWN, ("kms test_a first", "missing $.A"))
    run.stage = True
    assert not run.failed


def test_the_text_has_counts_places_and_reasons() -> None:
    text = "\n".join(report(*KNOWN).lines())
    assert "kms: same 1 of 2 (2 if the texts of errors may differ)" in text
    assert "all services: same 1 of 3" in text
    assert "sqs test_b third (sqs.receive_message): missing $.Id" in text
    assert "    3 No program reads it." in text
    assert "vanished: ec2" not in text
    assert "Not in the list" not in text
    assert "'sqs test_b third': ['missing $.Id']" in "\n".join(report().lines())


def test_the_json_object_has_each_difference_with_its_reason() -> None:
    document = json.loads(json.dumps(report(*KNOWN[:1]).document()))
    assert [entry["reason"] for entry in document["differences"]] == ["No program reads it.", ""]
    assert document["violations"] == [{"operation": "sqs.Send", "violation": "unknown $.A", "reason": ""}]
    assert document["services"]["kms"]["same"] == 1
    assert set(document["unlisted"]) == {"sqs test_b third", "sqs.Send"}
