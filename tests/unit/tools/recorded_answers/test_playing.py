"""Tests that a scenario is played with an invented client, and that its answers have the form of a recording."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from botocore.exceptions import ClientError

from tools.recorded_answers.playing import plain, play
from tools.recorded_answers.scenario import Call, Scenario


class Client:
    def __init__(self) -> None:
        self.states = ["CREATING", "ACTIVE"]

    def create(self, **parameters: Any) -> dict[str, Any]:
        return {"Id": f"id of {parameters['Name']}"}

    def read(self, **parameters: Any) -> dict[str, Any]:
        return {"Id": parameters["Id"], "State": self.states.pop(0), "Tags": [{"Key": "a"}]}

    def fail(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": "Wrong", "Message": "a"}}, "Fail")


def played(*calls: Call) -> list[Any]:
    client = Client()
    return play(Scenario("a", "f", "t", calls, {"unique": "u"}), lambda _service, _region: client)


def test_a_value_of_an_answer_is_a_variable_of_later_calls() -> None:
    answers = played(
        Call("a", "create", {"Name": "$unique"}, save={"id": "Id"}),
        Call("a", "read", {"Id": "$id"}, until={"path": "State", "is": "ACTIVE"}, record="read"),
    )
    assert [answer.content for answer in answers] == [{"Id": "id of u", "State": "ACTIVE", "Tags": [{"Key": "a"}]}]


def test_an_answer_can_be_a_part_of_the_response() -> None:
    assert played(Call("a", "read", {"Id": "i"}, record="tags", path="Tags[0].Key"))[0].content == "a"


def test_a_call_whose_variable_is_unknown_has_a_reason() -> None:
    failed, unreached = played(
        Call("a", "fail", {}, save={"id": "Id"}, record="failed"), Call("a", "read", {"Id": "$id"}, record="unreached")
    )
    assert (failed.content["Error"]["Code"], failed.reason) == ("Wrong", "")
    assert "`id`" in unreached.reason


def test_a_response_has_the_form_of_a_recording() -> None:
    response = {
        "Time": datetime(2026, 1, 1, tzinfo=UTC),
        "Bytes": b"\x01",
        "Body": BytesIO(b"text"),
        "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"date": "now"}, "RetryAttempts": 0},
    }
    assert plain(response) == {
        "Time": "2026-01-01T00:00:00+00:00",
        "Bytes": "b'\\x01'",
        "Body": "text",
        "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 200},
    }
