"""Tests that a saved plan is bound to its inputs. The states and plans are plain files, and no Terraform runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mjctl.models.errors import ConflictError
from mjctl.terraform.plan_file import Binding, SavedPlan
from mjctl.terraform.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    source = tmp_path / "terraform" / "stacks" / "local"
    source.mkdir(parents=True)
    (source / "main.tf").write_text("locals {}\n")
    stack = Stack("test", "local", "us-east-1", source, tmp_path / "us-east-1")
    stack.prepare()
    write_state(stack, "one", 3)
    stack.variables_file.write_text("{}")
    return stack


def write_state(stack: Stack, lineage: str, serial: int) -> None:
    stack.state_file.write_text(json.dumps({"lineage": lineage, "serial": serial, "resources": [{}]}))


def sealed(stack: Stack) -> SavedPlan:
    plan = SavedPlan(stack.terraform_dir / "plan.tfplan", Binding(revision="r1"))
    plan.path.write_bytes(b"plan")
    plan.seal(stack)
    return plan


def test_a_plan_with_unchanged_inputs_is_accepted(stack: Stack) -> None:
    sealed(stack).verify(stack)


CHANGES: dict[str, tuple[Callable[[Stack], Any], str]] = {
    "lineage": (lambda stack: write_state(stack, "another", 3), "another state has replaced the state"),
    "serial": (lambda stack: write_state(stack, "one", 4), "the state has changed since"),
    "source": (lambda stack: (stack.source_dir / "more.tf").write_text("locals { a = 1 }"), "the Terraform code"),
    "variables": (lambda stack: stack.variables_file.write_text('{"a": 1}'), "the variables have changed"),
    "plan": (lambda stack: (stack.terraform_dir / "plan.tfplan").write_bytes(b"another"), "the plan file has changed"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_plan_is_refused_after_a_change_of_its_inputs(stack: Stack, field: str) -> None:
    plan = sealed(stack)
    change, reason = CHANGES[field]
    change(stack)
    with pytest.raises(ConflictError, match=reason):
        plan.verify(stack)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"environment": "prod"}, "for another environment"),
        ({"name": "region"}, "for another stack"),
        ({"unit": "eu-west-1"}, "for another region"),
    ],
)
def test_a_plan_is_refused_for_another_stack(stack: Stack, other: dict[str, str], reason: str) -> None:
    plan = sealed(stack)
    with pytest.raises(ConflictError, match=reason):
        plan.verify(replace(stack, **other))  # type: ignore[arg-type]


def test_a_plan_of_another_revision_is_refused(stack: Stack) -> None:
    plan = sealed(stack)
    with pytest.raises(ConflictError, match="game code"):
        replace(plan, binding=Binding(revision="r2")).verify(stack)
