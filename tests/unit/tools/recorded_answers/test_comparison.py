"""Tests that an answer is compared with a recording: keys, values, placeholders and the order of lists."""

from __future__ import annotations

from typing import Any

import pytest

from tools.recorded_answers.comparison import KINDS, Bindings, compare
from tools.recorded_answers.playing import Moment

ACCOUNT = "123456789012"


def texts(recorded: Any, answer: Any, bindings: Bindings | None = None, *, unordered: bool = False) -> list[str]:
    differences = compare(recorded, answer, bindings or Bindings(ACCOUNT), unordered=unordered)
    assert {difference.kind for difference in differences} <= set(KINDS)
    return [str(difference) for difference in differences]


@pytest.mark.parametrize(
    ("recorded", "answer"),
    [
        ({"Name": "a", "Size": 1, "On": True, "None": None}, {"Name": "a", "Size": 1, "On": True, "None": None}),
        ({"Arn": "arn:<partition>:sqs:<region>:111111111111:a"}, {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:a"}),
        ({"Id": "<id:1>", "Parent": "<id:1>"}, {"Id": "x", "Parent": "x"}),
        ({"Id": "<id:1>", "Count": "<count:1>"}, {"Id": "x", "Count": 7}),
        ({"<table:1>": {"A": 1}, "Name": "<table:1>"}, {"t": {"A": 1}, "Name": "t"}),
        ({"Arn": "secret:<name:1><suffix:1>", "Name": "<name:1>"}, {"Arn": "secret:a-b-c", "Name": "a"}),
        ({"Created": "datetime"}, {"Created": Moment("2026-01-01T00:00:00+00:00")}),
        ({"ImportToken": "import-token", "MD5": "<md5-hash>"}, {"ImportToken": "b'abc'", "MD5": "0cc1"}),
        ({"Policy": {"Version": "2012-10-17"}}, {"Policy": '{"Version": "2012-10-17"}'}),
    ],
)
def test_an_equal_answer_has_no_difference(recorded: Any, answer: Any) -> None:
    assert texts(recorded, answer) == []


@pytest.mark.parametrize(
    ("recorded", "answer", "difference"),
    [
        ({"Name": "a"}, {"Name": "b"}, "value $.Name"),
        ({"Name": "a"}, {}, "missing $.Name"),
        ({}, {"Name": "a"}, "extra $.Name"),
        ({"Size": 1}, {"Size": "1"}, "value $.Size"),
        ({"Size": "1"}, {"Size": 1}, "value $.Size"),
        ({"On": True}, {"On": 1}, "value $.On"),
        ({"Name": "<name>"}, {"Name": ""}, "value $.Name"),
        ({"Names": ["a"]}, {"Names": []}, "value $.Names"),
        ({"Items": [{"A": 1}]}, {"Items": [{"A": 2}]}, "value $.Items[0].A"),
        ({"Policy": {"Version": "1"}}, {"Policy": "no document"}, "value $.Policy"),
        ({"Error": {"Message": "a"}}, {"Error": {"Message": "b"}}, "message $.Error.Message"),
        ({"Arn": "111111111111"}, {"Arn": "999999999999"}, "value $.Arn"),
    ],
)
def test_a_difference_has_its_kind_and_its_place(recorded: Any, answer: Any, difference: str) -> None:
    assert texts(recorded, answer) == [difference]


def test_a_placeholder_stands_for_one_value_in_all_answers_of_a_test() -> None:
    bindings = Bindings(ACCOUNT)
    assert texts({"Id": "<id:1>"}, {"Id": "x"}, bindings) == []
    assert texts({"Text": "no <id:1>"}, {"Text": "no x"}, bindings) == []
    assert texts({"Id": "<id:1>"}, {"Id": "y"}, bindings) == ["value $.Id"]
    assert texts({"Text": "no <id:1>"}, {"Text": "no y"}, bindings) == ["value $.Text"]


def test_two_placeholders_of_a_name_stand_for_different_values() -> None:
    assert texts({"A": "<id:1>", "B": "<id:2>"}, {"A": "x", "B": "x"}) != []
    assert texts({"A": "<id:1>", "B": "<name:1>"}, {"A": "x", "B": "x"}) == []


def test_the_order_of_lists_matters_unless_the_scenario_says_otherwise() -> None:
    recorded, answer = [{"Key": "a"}, {"Key": "b"}], [{"Key": "b"}, {"Key": "a"}]
    assert texts(recorded, answer) == ["value $[0].Key", "value $[1].Key"]
    assert texts(recorded, answer, unordered=True) == []
