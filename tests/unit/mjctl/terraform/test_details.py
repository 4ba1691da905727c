from __future__ import annotations

import json
from typing import Any

import pytest

from mjctl.models.deployment import AttributeChange, Hidden
from mjctl.terraform.details import planned_changes

MASK, SEVERAL, UNKNOWN = Hidden.SENSITIVE, Hidden.SEVERAL, Hidden.UNKNOWN


def shown(**change: Any) -> dict[str, Any]:
    return {"resource_changes": [{"address": "aws_x.y", "type": "aws_x", "change": {"actions": ["update"], **change}}]}


def attributes(**change: Any) -> list[AttributeChange]:
    return list(planned_changes(shown(**change))[0].attributes)


def test_only_what_changes_is_listed() -> None:
    assert attributes(before={"a": 1, "b": {"c": [1, 2]}}, after={"a": 1, "b": {"c": [1, 3]}}) == [
        AttributeChange("b.c[1]", 2, 3)
    ]


def test_a_secret_is_masked_before_and_after_wherever_it_stands() -> None:
    found = attributes(
        before={"password": "old", "list": [{"key": "k1"}], "whole": {"x": "y"}},
        after={"password": "new", "list": [{"key": "k2"}], "whole": {"x": "z"}},
        before_sensitive={"password": True, "list": [{"key": True}], "whole": True},
        after_sensitive={"list": [{"key": True}], "whole": True},
    )
    assert AttributeChange("password", MASK, MASK) in found
    assert AttributeChange("list[0].key", MASK, MASK) in found
    assert AttributeChange("whole", MASK, MASK) in found
    assert not any(secret in str(found) for secret in ("old", "new", "k1", "k2", "'y'", "'z'"))


def test_a_value_that_is_a_secret_on_one_side_only_is_masked_on_both() -> None:
    (found,) = attributes(before={"v": "a"}, after={"v": "b"}, after_sensitive={"v": True})
    assert found == AttributeChange("v", MASK, MASK)


def test_a_secret_that_does_not_change_is_not_listed() -> None:
    assert attributes(before={"v": "a"}, after={"v": "a"}, after_sensitive={"v": True}) == []


@pytest.mark.parametrize(
    ("before_marks", "after_marks"),
    [({"l": [True, False]}, {"l": [False, True]}), ({"l": [True, False]}, {"l": [False]}), ({"l": True}, {})],
)
def test_a_list_of_secrets_in_another_order_does_not_leak(before_marks: Any, after_marks: Any) -> None:
    found = attributes(
        before={"l": ["hunter2", "public"]},
        after={"l": ["public", "hunter2"]},
        before_sensitive=before_marks,
        after_sensitive=after_marks,
    )
    assert found
    assert not any(attribute.before == "hunter2" for attribute in found)


def test_a_secret_whose_shape_changes_stays_masked() -> None:
    found = attributes(
        before={"v": {"token": "hunter2"}}, after={"v": ["hunter2"]}, before_sensitive={"v": {"token": True}}
    )
    assert "hunter2" not in str(found)
    assert any(attribute.after is MASK for attribute in found)


def test_a_value_that_reads_like_a_mask_is_no_mask() -> None:
    (found,) = attributes(before={"v": "(sensitive)"}, after={"v": "(known after apply)"})
    assert (found.before, found.after) == ("(sensitive)", "(known after apply)")
    assert found.before != Hidden.SENSITIVE
    assert found.after != Hidden.UNKNOWN


def test_what_is_known_later_says_so() -> None:
    assert attributes(before={"id": "1"}, after={}, after_unknown={"id": True, "tags": {}}) == [
        AttributeChange("id", "1", UNKNOWN)
    ]


def test_a_whole_that_is_not_known_yet_is_one_change() -> None:
    assert attributes(before={"output": {"a": 1, "b": [2]}}, after={}, after_unknown={"output": True}) == [
        AttributeChange("output", SEVERAL, UNKNOWN)
    ]


def test_a_key_cannot_break_a_line_or_pose_as_another_path() -> None:
    found = attributes(before={"tags": {}}, after={"tags": {"a\nb": "1", "x.y": "2", "\u202e": "3"}})
    assert [attribute.path for attribute in found] == ['tags["a\\nb"]', 'tags["x.y"]', 'tags["\\u202e"]']


def test_a_document_in_a_text_is_compared_by_its_parts() -> None:
    before = json.dumps([{"image": "game:1", "cpu": 256, "name": "game"}])
    after = json.dumps([{"image": "game:2", "cpu": 256, "name": "game"}])
    assert attributes(before={"definitions": before}, after={"definitions": after}) == [
        AttributeChange("definitions[0].image", "game:1", "game:2")
    ]
    other_spelling = json.dumps(json.loads(before), indent=1)
    assert attributes(before={"d": before}, after={"d": other_spelling}) == [
        AttributeChange("d", before, other_spelling)
    ]


def test_a_document_that_is_secret_or_too_deep_is_not_taken_apart() -> None:
    assert attributes(before={"d": '{"a": 1}'}, after={"d": '{"a": 2}'}, after_sensitive={"d": True}) == [
        AttributeChange("d", MASK, MASK)
    ]
    deep = "[" * 5_000 + "]" * 5_000
    assert attributes(before={"d": deep}, after={"d": "[1]"}) == [AttributeChange("d", deep, "[1]")]


def test_what_stays_is_left_out_and_a_replacement_is_one_action() -> None:
    plan = {
        "resource_changes": [
            {"address": "a", "type": "t", "change": {"actions": ["no-op"], "before": {}, "after": {}}},
            {
                "address": "b",
                "type": "aws_kms_key",
                "action_reason": "replace_because_cannot_update",
                "change": {
                    "actions": ["create", "delete"],
                    "before": {"x": 1},
                    "after": {"x": 2},
                    "replace_paths": [["x"], ["a", 0, "b c"]],
                },
            },
        ]
    }
    (found,) = planned_changes(plan)
    assert (found.address, found.action, found.resource_type) == ("b", "replace", "aws_kms_key")
    assert found.reason == "replace_because_cannot_update"
    assert found.forced_by == ("x", 'a[0]["b c"]')


def test_a_resource_that_is_only_forgotten_stays() -> None:
    plan = {"resource_changes": [{"address": "a", "type": "t", "change": {"actions": ["forget"], "before": {"x": 1}}}]}
    assert [change.action for change in planned_changes(plan)] == ["forget"]
