"""Checks that each key of an environment's file that a message names is a field of the model."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from mjctl.models.environment import Environment
from tools.checkout import ROOT, tracked_files

KEY = re.compile(r"(?<![\w./])(?:aws|drift)(?:\.[a-z][a-z_]+)+(?![\w./(])")


def messages(name: str) -> list[str]:
    """Return the texts of a module without its docstrings' and imports' names."""
    tree = ast.parse((ROOT / name).read_text())
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def keys() -> list[str]:
    """Return the keys that texts of mjctl name, such as `aws.task.cpu`."""
    names = [name for name in tracked_files(".py") if name.startswith("mjctl/")]
    named = {key for name in names for text in messages(name) for key in KEY.findall(text)}
    return sorted(key for key in named if not key.endswith((".md", ".py", ".json", ".amazon", ".endpoint_url")))


def is_field(key: str) -> bool:
    schema = Environment.model_json_schema()
    node: Any = schema
    for word in key.split("."):
        options = [node, *node.get("anyOf", ()), *node.get("allOf", ())]
        options += [schema["$defs"][o["$ref"].rsplit("/", 1)[-1]] for o in options if "$ref" in o]
        node = next((option["properties"][word] for option in options if word in option.get("properties", {})), None)
        if node is None:
            return False
    return True


@pytest.mark.parametrize("key", keys())
def test_a_key_that_a_message_names_is_a_field_of_the_environment(key: str) -> None:
    assert is_field(key)


def test_a_key_without_a_field_is_noticed() -> None:
    assert not is_field("aws.tasks.max_tasks_per_zone")
    assert is_field("aws.task.max_tasks_per_zone")
