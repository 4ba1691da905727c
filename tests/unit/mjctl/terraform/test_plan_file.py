"""A saved plan is bound to everything that it was made for. State and plan are plain files here: no Terraform runs."""

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
    made = Stack("test", "local", "us-east-1", source, tmp_path / "us-east-1")
    made.prepare()
    write_state(made, "one", 3)
    made.variables_file.write_text("{}")
    return made


def write_state(stack: Stack, lineage: str, serial: int) -> None:
    stack.state_file.write_text(json.dumps({"lineage": lineage, "serial": serial, "resources": [{}]}))


def sealed(stack: Stack) -> SavedPlan:
    plan = SavedPlan(stack.terraform_dir / "plan.tfplan", Binding(revision="r1"))
    plan.path.write_bytes(b"plan")
    plan.seal(stack)
    return plan


def test_a_plan_fits_what_it_was_made_for(stack: Stack) -> None:
    sealed(stack).verify(stack)


CHANGES: dict[str, tuple[Callable[[Stack], Any], str]] = {
    "lineage": (lambda stack: write_state(stack, "another", 3), "the state was replaced by another one"),
    "serial": (lambda stack: write_state(stack, "one", 4), "the state has moved since"),
    "source": (lambda stack: (stack.source_dir / "more.tf").write_text("locals { a = 1 }"), "the Terraform code"),
    "variables": (lambda stack: stack.variables_file.write_text('{"a": 1}'), "the variables have changed"),
    "plan": (lambda stack: (stack.terraform_dir / "plan.tfplan").write_bytes(b"another"), "the file has changed"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_plan_is_refused_once_its_base_has_changed(stack: Stack, field: str) -> None:
    plan = sealed(stack)
    change, said = CHANGES[field]
    change(stack)
    with pytest.raises(ConflictError, match=said):
        plan.verify(stack)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"environment": "prod"}, "of another environment"),
        ({"name": "region"}, "of another stack"),
        ({"unit": "eu-west-1"}, "of another region"),
    ],
)
def test_a_plan_is_refused_elsewhere(stack: Stack, other: dict[str, str], said: str) -> None:
    plan = sealed(stack)
    with pytest.raises(ConflictError, match=said):
        plan.verify(replace(stack, **other))  # type: ignore[arg-type]


def test_a_plan_of_another_revision_is_refused(stack: Stack) -> None:
    plan = sealed(stack)
    with pytest.raises(ConflictError, match="the game's code"):
        replace(plan, binding=Binding(revision="r2")).verify(stack)
