"""Tests the checks of raw requests and answers with an invented service model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.model import OperationModel, ServiceModel

from tools.recorded_answers.service_models import RawAnswer, check_answer, check_request

SHAPES: dict[str, Any] = {
    "Text": {"type": "string"},
    "Whole": {"type": "integer"},
    "Fraction": {"type": "double"},
    "Flag": {"type": "boolean"},
    "Time": {"type": "timestamp"},
    "Bytes": {"type": "blob"},
    "State": {"type": "string", "enum": ["ON", "OFF"]},
    "Names": {"type": "list", "member": {"shape": "Text"}},
    "Tags": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
    "Input": {"type": "structure", "required": ["Name"], "members": {"Name": {"shape": "Text"}}},
    "Output": {
        "type": "structure",
        "required": ["Name"],
        "members": {
            "Name": {"shape": "Text"},
            "Size": {"shape": "Whole"},
            "Ratio": {"shape": "Fraction"},
            "On": {"shape": "Flag"},
            "Created": {"shape": "Time"},
            "Key": {"shape": "Bytes"},
            "State": {"shape": "State"},
            "Names": {"shape": "Names"},
            "Tags": {"shape": "Tags"},
            "Count": {"shape": "Text", "location": "header", "locationName": "X-Count"},
        },
    },
}
GOOD = {
    "Name": "a",
    "Size": 1,
    "Ratio": 0.5,
    "On": True,
    "Created": 1.5,
    "Key": "YQ==",
    "State": "ON",
    "Names": ["a"],
    "Tags": {"a": "b"},
}
XML = """
<Name>a</Name><Size>1</Size><Ratio>0.5</Ratio><On>true</On><Created>2026-01-01T00:00:00Z</Created><Key>YQ==</Key>
<State>ON</State><Names><member>a</member></Names><Tags><entry><key>a</key><value>b</value></entry></Tags>
"""


def operation(protocol: str) -> OperationModel:
    output = {"shape": "Output", "resultWrapper": "ReadResult"} if protocol == "query" else {"shape": "Output"}
    model = {
        "metadata": {"protocol": protocol, "apiVersion": "1", "endpointPrefix": "a"},
        "operations": {
            "Read": {
                "name": "Read",
                "http": {"method": "POST", "requestUri": "/"},
                "input": {"shape": "Input"},
                "output": output,
            }
        },
        "shapes": SHAPES,
    }
    return ServiceModel(model, "invented").operation_model("Read")


def json_violations(content: Any, status: int = 200) -> list[str]:
    return check_answer(operation("json"), "json", RawAnswer(status, {}, json.dumps(content).encode()))


def xml_violations(members: str) -> list[str]:
    body = f"<ReadResponse xmlns='urn:a'><ReadResult>{members}</ReadResult><ResponseMetadata/></ReadResponse>"
    return check_answer(operation("query"), "query", RawAnswer(200, {}, body.encode()))


def test_a_right_answer_has_no_violation() -> None:
    assert json_violations(GOOD) == []
    assert json_violations({**GOOD, "Size": None}) == []
    assert xml_violations(XML) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"Other": 1}, "unknown $.Other"),
        ({"Name": None}, "missing $.Name"),
        ({"Name": 1}, "type $.Name"),
        ({"Size": "1"}, "type $.Size"),
        ({"Size": True}, "type $.Size"),
        ({"Ratio": "1"}, "type $.Ratio"),
        ({"On": "true"}, "type $.On"),
        ({"Created": "2026-01-01T00:00:00Z"}, "type $.Created"),
        ({"Key": "%"}, "type $.Key"),
        ({"State": "BROKEN"}, "enum $.State"),
        ({"Names": [1]}, "type $.Names[]"),
        ({"Names": "a"}, "type $.Names"),
        ({"Tags": {"a": 1}}, "type $.Tags{}"),
    ],
)
def test_a_wrong_member_of_a_json_answer_is_a_violation(change: dict[str, Any], violation: str) -> None:
    assert json_violations({**GOOD, **change}) == [violation]


@pytest.mark.parametrize(
    ("right", "wrong", "violation"),
    [
        ("<Name>a</Name>", "", "missing $.Name"),
        ("<Name>a</Name>", "<Name>a</Name><Other/>", "unknown $.Other"),
        (">1<", ">one<", "type $.Size"),
        (">true<", ">True<", "type $.On"),
        ("2026-01-01T00:00:00Z", "yesterday", "type $.Created"),
        (">ON<", ">BROKEN<", "enum $.State"),
        ("<member>a</member>", "<item>a</item>", "unknown $.Names.item"),
        ("<value>b</value>", "<worth>b</worth>", "unknown $.Tags{}.worth"),
    ],
)
def test_a_wrong_element_of_an_xml_answer_is_a_violation(right: str, wrong: str, violation: str) -> None:
    assert xml_violations(XML.replace(right, wrong)) == [violation]


def test_an_answer_that_cannot_be_parsed_is_a_violation() -> None:
    assert check_answer(operation("json"), "json", RawAnswer(200, {}, b"<html>")) == ["body $"]
    assert check_answer(operation("query"), "query", RawAnswer(200, {}, b"{}")) == ["body $"]


def test_an_error_must_have_a_code() -> None:
    assert json_violations({"__type": "Wrong", "message": "a"}, 400) == []
    assert json_violations({"message": "a"}, 400) == ["body $.Error.Code"]


def test_a_required_header_must_be_present() -> None:
    shapes = {**SHAPES, "Output": {**SHAPES["Output"], "required": ["Count"]}}
    model = {
        "metadata": {"protocol": "rest-json", "apiVersion": "1", "endpointPrefix": "a"},
        "operations": {
            "Read": {"name": "Read", "http": {"method": "GET", "requestUri": "/"}, "output": {"shape": "Output"}}
        },
        "shapes": shapes,
    }
    read = ServiceModel(model, "invented").operation_model("Read")
    assert check_answer(read, "rest-json", RawAnswer(200, {"x-count": "1"}, b"{}")) == []
    assert check_answer(read, "rest-json", RawAnswer(200, {}, b"{}")) == ["missing $.Count"]


def test_a_request_is_checked_too() -> None:
    assert check_request(operation("json"), "json", b'{"Name": "a"}') == []
    assert check_request(operation("json"), "json", b'{"Size": 1}') == ["missing $.Name", "unknown $.Size"]
    assert check_request(operation("query"), "query", b"Action=Read") == []
