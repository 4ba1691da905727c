from __future__ import annotations

import json
from typing import Any

import pytest

from mjctl.models.deployment import AttributeChange, Hidden
from mjctl.terraform.details import adds_to_outputs, planned_changes

MASK, SEVERAL, UNKNOWN = Hidden.SENSITIVE, Hidden.SEVERAL, Hidden.UNKNOWN


def shown(**change: Any) -> dict[str, Any]:
    return {"resource_changes": [{"address": "aws_x.y", "type": "aws_x", "change": {"actions": ["update"], **change}}]}


def attributes(**change: Any) -> list[AttributeChange]:
    return list(planned_changes(shown(**change))[0].attributes)


def test_only_changed_attributes_are_listed() -> None:
    assert attributes(before={"a": 1, "b": {"c": [1, 2]}}, after={"a": 1, "b": {"c": [1, 3]}}) == [
        AttributeChange("b.c[1]", 2, 3)
    ]


def test_a_secret_is_masked_in_every_place_before_and_after() -> None:
    changed = attributes(
        before={"password": "old", "list": [{"key": "k1"}], "whole": {"x": "y"}},
        after={"password": "new", "list": [{"key": "k2"}], "whole": {"x": "z"}},
        before_sensitive={"password": True, "list": [{"key": True}], "whole": True},
        after_sensitive={"list": [{"key": True}], "whole": True},
    )
    assert AttributeChange("password", MASK, MASK) in changed
    assert AttributeChange("list[0].key", MASK, MASK) in changed
    assert AttributeChange("whole", MASK, MASK) in changed
    assert not any(secret in str(changed) for secret in ("old", "new", "k1", "k2", "'y'", "'z'"))


def test_a_value_that_is_secret_before_or_after_is_masked_before_and_after() -> None:
    (changed,) = attributes(before={"v": "a"}, after={"v": "b"}, after_sensitive={"v": True})
    assert changed == AttributeChange("v", MASK, MASK)


def test_a_secret_that_does_not_change_is_not_listed() -> None:
    assert attributes(before={"v": "a"}, after={"v": "a"}, after_sensitive={"v": True}) == []


@pytest.mark.parametrize(
    ("before_marks", "after_marks"),
    [({"l": [True, False]}, {"l": [False, True]}), ({"l": [True, False]}, {"l": [False]}), ({"l": True}, {})],
)
def test_a_secret_in_a_reordered_list_is_masked(before_marks: Any, after_marks: Any) -> None:
    changed = attributes(
        before={"l": ["hunter2", "public"]},
        after={"l": ["public", "hunter2"]},
        before_sensitive=before_marks,
        after_sensitive=after_marks,
    )
    assert changed
    assert not any(attribute.before == "hunter2" for attribute in changed)


def test_a_secret_whose_shape_changes_stays_masked() -> None:
    changed = attributes(
        before={"v": {"token": "hunter2"}}, after={"v": ["hunter2"]}, before_sensitive={"v": {"token": True}}
    )
    assert "hunter2" not in str(changed)
    assert any(attribute.after is MASK for attribute in changed)


def test_a_text_that_reads_like_a_mask_is_not_equal_to_a_mask() -> None:
    (changed,) = attributes(before={"v": "(sensitive)"}, after={"v": "(known after apply)"})
    assert (changed.before, changed.after) == ("(sensitive)", "(known after apply)")
    assert changed.before != Hidden.SENSITIVE
    assert changed.after != Hidden.UNKNOWN


def test_a_value_that_is_known_after_the_apply_is_marked() -> None:
    assert attributes(before={"id": "1"}, after={}, after_unknown={"id": True, "tags": {}}) == [
        AttributeChange("id", "1", UNKNOWN)
    ]


def test_an_unknown_object_is_a_single_change() -> None:
    assert attributes(before={"output": {"a": 1, "b": [2]}}, after={}, after_unknown={"output": True}) == [
        AttributeChange("output", SEVERAL, UNKNOWN)
    ]


def test_special_characters_of_a_key_are_escaped_in_its_path() -> None:
    changed = attributes(before={"tags": {}}, after={"tags": {"a\nb": "1", "x.y": "2", "\u202e": "3"}})
    assert [attribute.path for attribute in changed] == ['tags["a\\nb"]', 'tags["x.y"]', 'tags["\\u202e"]']


def test_json_in_a_text_is_compared_part_by_part() -> None:
    before = json.dumps([{"image": "game:1", "cpu": 256, "name": "game"}])
    after = json.dumps([{"image": "game:2", "cpu": 256, "name": "game"}])
    assert attributes(before={"definitions": before}, after={"definitions": after}) == [
        AttributeChange("definitions[0].image", "game:1", "game:2")
    ]
    other_spelling = json.dumps(json.loads(before), indent=1)
    assert attributes(before={"d": before}, after={"d": other_spelling}) == [
        AttributeChange("d", before, other_spelling)
    ]


def test_json_that_is_secret_or_too_deep_is_compared_as_a_whole() -> None:
    assert attributes(before={"d": '{"a": 1}'}, after={"d": '{"a": 2}'}, after_sensitive={"d": True}) == [
        AttributeChange("d", MASK, MASK)
    ]
    deep = "[" * 5_000 + "]" * 5_000
    assert attributes(before={"d": deep}, after={"d": "[1]"}) == [AttributeChange("d", deep, "[1]")]


def test_unchanged_resources_are_omitted_and_a_replacement_is_a_single_action() -> None:
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
    (changed,) = planned_changes(plan)
    assert (changed.address, changed.action, changed.resource_type) == ("b", "replace", "aws_kms_key")
    assert changed.reason == "replace_because_cannot_update"
    assert changed.forced_by == ("x", 'a[0]["b c"]')


def test_a_forgotten_resource_has_the_action_forget() -> None:
    plan = {"resource_changes": [{"address": "a", "type": "t", "change": {"actions": ["forget"], "before": {"x": 1}}}]}
    assert [change.action for change in planned_changes(plan)] == ["forget"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"before": {"a": {"b": 1}}, "after": {"a": {"b": 2}}, "after_unknown": {}}, False),
        ({"before": {"a": {"b": 1}}, "after": {"a": {}}, "after_unknown": {"a": {"b": True}}}, False),
        ({"before": {"a": {"b": 1}}, "after": {"a": {"b": 1, "c": 1}}, "after_unknown": {}}, True),
        ({"before": {"a": {"b": 1}}, "after": {"a": {"b": 1}}, "after_unknown": {"a": {"c": True}}}, True),
        ({"before": {"a": 1, "b": 1}, "after": {"a": 1}, "after_unknown": {}}, False),
        ({"before": {"a": [1]}, "after": {"a": [1, {"b": 2}]}, "after_unknown": {}}, False),
        ({"before": {"a": 1}, "after_unknown": True}, False),
        ({"before": None, "after": {"a": 1}, "after_unknown": {}}, False),
    ],
)
def test_a_plan_adds_to_the_outputs_if_an_existing_output_gets_a_key(change: dict[str, Any], expected: bool) -> None:
    assert adds_to_outputs({"output_changes": {"contract": {"actions": ["update"], **change}}}) is expected
