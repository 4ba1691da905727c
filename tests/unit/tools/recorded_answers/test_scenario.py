"""Tests that scenarios are loaded, and that their variables and computed values are filled in."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tools.recorded_answers.scenario import UnknownVariableError, load, resolve

FILE = """
service: sqs
file: tests/test_a.py
shared:
  queue: &queue {call: create_queue, with: {QueueName: $unique}}
scenarios:
  - test: test_a[$name]
    each: [{name: first}, {name: second}]
    calls:
      - *queue
      - {call: kms.describe_key, region: eu-west-1, with: {KeyId: $name}, record: key, of: KeyMetadata}
  - test: test_b
    file: tests/test_b.py
    calls:
      - call: send
        with:
          Policy: !json {Account: $account}
          Text: !repeat [ab, 2]
          Entries: !numbered [2, {Id: "id-{}"}]
          Part: !without_end [abcdef, 2]
          Price: 1 $$
"""


def test_a_file_has_one_scenario_for_each_entry_of_its_list(tmp_path: Path) -> None:
    (tmp_path / "sqs.yaml").write_text(FILE, encoding="utf-8")
    first, second, third = load(tmp_path, account="123456789012")
    assert [first.test, second.test, third.test] == ["test_a[first]", "test_a[second]", "test_b"]
    assert (first.file, third.file) == ("tests/test_a.py", "tests/test_b.py")
    assert [call.service for call in first.calls] == ["sqs", "kms"]
    assert (first.calls[1].region, first.calls[1].record, first.calls[1].path) == ("eu-west-1", "key", "KeyMetadata")
    assert first.variables["unique"] != second.variables["unique"]
    assert load(tmp_path, service="kms", account="123456789012") == []


def test_variables_and_computed_values_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "sqs.yaml").write_text(FILE, encoding="utf-8")
    scenario = load(tmp_path, account="123456789012")[2]
    assert resolve(scenario.calls[0].parameters, scenario.variables) == {
        "Policy": '{"Account": "123456789012"}',
        "Text": "abab",
        "Entries": [{"Id": "id-1"}, {"Id": "id-2"}],
        "Part": "abcd",
        "Price": "1 $",
    }


def test_the_code_of_a_function_is_zipped(tmp_path: Path) -> None:
    text = "{service: a, file: f, scenarios: [{test: t, calls: [{call: c, with: {Code: !zip {a.py: pass}}}]}]}"
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    call = load(tmp_path, account="123456789012")[0].calls[0]
    with zipfile.ZipFile(io.BytesIO(resolve(call.parameters, {})["Code"])) as archive:
        assert archive.read("a.py") == b"pass"


def test_a_variable_that_is_a_whole_value_keeps_its_type() -> None:
    assert resolve(["$size", "size $size", {"$key": 1}], {"size": 7, "key": "a"}) == [7, "size 7", {"a": 1}]


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(UnknownVariableError, match="nowhere"):
        resolve({"Name": "${nowhere}"}, {})


def test_the_scenarios_of_the_repository_compare_at_least_200_answers() -> None:
    scenarios = load(account="123456789012")
    answers = [(s.file, s.test, call.record) for s in scenarios for call in s.calls if call.record]
    assert len(answers) >= 200
    assert len(answers) == len(set(answers))
