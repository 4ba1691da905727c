from __future__ import annotations

from typing import Any

from mjctl.terraform.details import MASK, SEVERAL, UNKNOWN, AttributeChange, resource_details


def shown(**change: Any) -> dict[str, Any]:
    return {"resource_changes": [{"address": "aws_x.y", "change": {"actions": ["update"], **change}}]}


def attributes(**change: Any) -> list[AttributeChange]:
    return list(resource_details(shown(**change))[0].attributes)


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


def test_what_is_known_later_says_so() -> None:
    assert attributes(before={"id": "1"}, after={}, after_unknown={"id": True, "tags": {}}) == [
        AttributeChange("id", "1", UNKNOWN)
    ]


def test_a_whole_that_is_not_known_yet_is_one_change() -> None:
    assert attributes(before={"output": {"a": 1, "b": [2]}}, after={}, after_unknown={"output": True}) == [
        AttributeChange("output", SEVERAL, UNKNOWN)
    ]


def test_what_stays_is_left_out_and_a_replacement_is_one_action() -> None:
    plan = {
        "resource_changes": [
            {"address": "a", "change": {"actions": ["no-op"], "before": {}, "after": {}}},
            {
                "address": "b",
                "action_reason": "replace_because_tainted",
                "change": {"actions": ["create", "delete"], "before": {"x": 1}, "after": {"x": 2}},
            },
        ]
    }
    (found,) = resource_details(plan)
    assert (found.address, found.action, found.reason) == ("b", "replace", "replace_because_tainted")
