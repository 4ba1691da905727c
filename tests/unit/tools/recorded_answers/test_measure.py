"""Tests how the answer to a call becomes differences: error answers, texts of errors, and unknown recordings."""

from __future__ import annotations

from typing import Any

import pytest

from tools.recorded_answers.comparison import Bindings
from tools.recorded_answers.measure import differences_of
from tools.recorded_answers.playing import Answer
from tools.recorded_answers.scenario import Call

CALL = Call("kms", "encrypt", {}, record="a")
REFUSAL = {"Error": {"Code": "Wrong", "Message": "a"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
TEXT = "An error occurred (Wrong) when calling the Encrypt operation: a"


def texts(recorded: Any, content: Any, error: str = "", reason: str = "") -> list[str]:
    return [str(d) for d in differences_of(recorded, Answer(CALL, content, error, reason), Bindings("123456789012"))]


@pytest.mark.parametrize(
    ("recorded", "content", "error", "differences"),
    [
        (REFUSAL, REFUSAL, TEXT, []),
        (REFUSAL, {**REFUSAL, "message": "a"}, TEXT, []),
        (TEXT, REFUSAL, TEXT, []),
        ("An error occurred (A.B) when: a", {"Error": {"Code": "A.B"}}, "An error occurred (A.B) when: a", []),
        (TEXT, REFUSAL, TEXT + "b", ["message $"]),
        (TEXT.replace("Wrong", "Other"), REFUSAL, TEXT, ["value $"]),
        (REFUSAL, {"Id": "a"}, "", ["accepted $"]),
        (TEXT, {"Id": "a"}, "", ["accepted $"]),
        ({"Id": "a"}, REFUSAL, TEXT, ["refused $"]),
        (
            REFUSAL,
            {**REFUSAL, "ResponseMetadata": {"HTTPStatusCode": 404}},
            TEXT,
            ["value $.ResponseMetadata.HTTPStatusCode"],
        ),
        (REFUSAL, {**REFUSAL, "Error": {"Code": "Other", "Message": "a"}}, TEXT, ["value $.Error.Code"]),
    ],
)
def test_error_answers_are_compared(recorded: Any, content: Any, error: str, differences: list[str]) -> None:
    assert texts(recorded, content, error) == differences


def test_an_unreached_call_is_a_difference() -> None:
    assert texts({"Id": "a"}, None, reason="an earlier call failed") == ["unreached $"]
