"""Tests of the text for planned changes, on a terminal and in Markdown."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from mjctl.cli.output.changes import by_module, counts, in_order, module_of, shown_attributes, values, why
from mjctl.cli.output.console import SafeConsole
from mjctl.cli.output.plan_view import PlanView
from mjctl.models.deployment import AttributeChange, Change, GateVerdict, Hidden, UnitOutcome, UnitResult
from mjctl.terraform.details import planned_changes

OLD, NEW = "230fc3c111111111", "9b1d7aa222222222"


def shown_on_terminal(*changes: Change, width: int = 80, brief: bool = False) -> list[str]:
    stream = io.StringIO()
    console = SafeConsole(stream, no_color=True)
    console.print(PlanView([UnitResult("us-east-1", UnitOutcome.PLANNED, changes=changes)], brief=brief), width=width)
    return stream.getvalue().splitlines()


def update(address: str = "module.a.aws_ecs_service.this", *attributes: AttributeChange) -> Change:
    return Change(address, "update", resource_type="aws_ecs_service", attributes=attributes)


def new_code_of(**more: Any) -> Change:
    """Return the change of a local process with new code, as Terraform plans it."""
    (change,) = planned_changes(
        {
            "resource_changes": [
                {
                    "address": "module.api.terraform_data.process",
                    "type": "terraform_data",
                    "action_reason": "replace_because_cannot_update",
                    "change": {
                        "actions": ["create", "delete"],
                        "before": _process(OLD),
                        "after": {**_process(NEW), **more},
                        "after_unknown": {"id": True, "output": True},
                        "replace_paths": [["triggers_replace"]],
                    },
                }
            ]
        }
    )
    return change


def _process(revision: str) -> dict[str, Any]:
    folder = f"/home/o/.mjctl/releases/game/{revision}"
    return {
        "id": "x",
        "triggers_replace": {
            "incarnation": {"revision": revision, "supervisor": "s"},
            "definition": {"port": 8080, "environment": {"PYTHONPATH": folder}},
        },
    }


def test_old_and_new_values_are_shown() -> None:
    lines = shown_on_terminal(update("aws_ecs_service.this", AttributeChange("desired_count", 3, 6)))
    assert lines == ["us-east-1: 1 update", "  ~ aws_ecs_service.this", "      desired_count: 3 -> 6"]


def test_the_brief_view_shows_names_only() -> None:
    lines = shown_on_terminal(update("aws_ecs_service.this", AttributeChange("desired_count", 3, 6)), brief=True)
    assert lines == ["us-east-1: 1 update", "  ~ aws_ecs_service.this"]


def test_new_code_is_named_as_the_reason_of_a_change() -> None:
    lines = shown_on_terminal(new_code_of())
    assert lines[1:] == [
        "  ± module.api.terraform_data.process",
        "      new code (gameserver 230fc3c → 9b1d7aa)",
    ], "the changed folder and the new ids follow from the new code"


def test_values_that_change_together_with_the_code_are_shown_too() -> None:
    changed = _process(NEW)
    changed["triggers_replace"]["definition"]["port"] = 9090
    assert [name for name, _ in shown_attributes(new_code_of(**changed))] == ["port"]


@pytest.mark.parametrize(
    ("part", "reason"),
    [("supervisor", "its supervisor is restarted"), ("epoch", "missing or damaged on this machine")],
)
def test_the_replacement_of_a_local_process_has_a_reason(part: str, reason: str) -> None:
    attribute = AttributeChange(f"triggers_replace.incarnation.{part}", 1, 2)
    change = Change("a.b", "replace", "cannot_update", attributes=(attribute,), forced_by=("triggers_replace",))
    assert why(change) == reason
    assert shown_attributes(change) == []


def test_a_replacement_names_the_attributes_that_force_it() -> None:
    change = Change("aws_db.x", "replace", "cannot_update", forced_by=("engine", 'tags["a\\nb"]'))
    assert why(change) == 'cannot change in place: engine, tags["a\\nb"]'


def test_a_forgotten_resource_is_shown_as_no_longer_managed() -> None:
    lines = shown_on_terminal(Change("aws_s3_bucket.x", "forget", "delete_because_no_resource_config"))
    assert lines == [
        "us-east-1: 1 forget",
        "  . aws_s3_bucket.x",
        "      continues to exist, but Terraform no longer manages it",
    ]


def test_a_masked_value_and_a_text_equal_to_the_mask_look_different() -> None:
    assert values(AttributeChange("x", Hidden.SENSITIVE, Hidden.SENSITIVE), 80) == "(sensitive) -> (sensitive)"
    assert values(AttributeChange("x", "(sensitive)", "(sensitive) "), 80) == '"(sensitive)" -> "(sensitive) "'
    assert values(AttributeChange("x", 1, Hidden.UNKNOWN), 80) == "1 -> (known after apply)"


def test_long_values_are_cut_so_that_their_difference_is_shown() -> None:
    text = values(AttributeChange("x", "a" * 500 + "old", "a" * 500 + "new"), 60)
    assert len(text) <= 62
    assert "old" in text
    assert "new" in text


def test_values_and_names_cannot_control_the_terminal() -> None:
    odd = "\x1b]0;t\x07\u202e\n"
    change = update(f'aws_x.y["{odd}"]', AttributeChange(f'tags["{odd}"]', odd, 1))
    for brief in (True, False):
        lines = shown_on_terminal(change, brief=brief)
        assert len(lines) == (2 if brief else 3)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", "".join(lines))


def test_replacements_and_deletions_come_first() -> None:
    changes = [Change(action, action) for action in ("create", "read", "update", "forget", "delete", "replace")]
    assert [change.action for change in in_order(changes)] == [
        "replace",
        "delete",
        "forget",
        "update",
        "create",
        "read",
    ]
    assert counts(changes) == "1 replace, 1 delete, 1 forget, 1 update, 1 create, 1 read"


def test_a_module_with_many_changes_is_folded_and_other_modules_are_not() -> None:
    many = [
        Change(
            f'module.network.aws_subnet.this["{number}"]',
            "create",
            resource_type="aws_subnet",
            attributes=(AttributeChange("cidr", None, "10.0.0.0/24"),),
        )
        for number in range(43)
    ]
    replaced = Change("module.network.aws_vpc.this", "replace", "cannot_update", forced_by=("cidr_block",))
    lines = shown_on_terminal(*many, replaced, update("module.game.aws_ecs_service.this", AttributeChange("n", 1, 2)))
    assert lines[0] == "us-east-1: 1 replace, 1 update, 43 create"
    assert "  ± module.network.aws_vpc.this" in lines
    assert "      n: 1 -> 2" in lines
    assert "  43 create in module.network: 43 aws_subnet" in lines
    assert "--brief lists the names" in "".join(lines)
    assert len(lines) < 12
    assert len(shown_on_terminal(*many, brief=True)) == 44


@pytest.mark.parametrize(
    ("address", "module"),
    [
        ("aws_x.y", ""),
        ("module.a.aws_x.y", "module.a"),
        ('module.a["x.y].z"].module.b[0].aws_x.y', 'module.a["x.y].z"].module.b[0]'),
        ('module.a["q\\"]."].data.aws_x.y["module.c.d"]', 'module.a["q\\"]."]'),
    ],
)
def test_the_module_is_read_from_an_address(address: str, module: str) -> None:
    assert module_of(address) == module
    assert [name for name, _ in by_module([Change(address, "create")])] == [module]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_of_a_plan_fit_the_terminal(width: int) -> None:
    long = AttributeChange("policy", "x" * 900, "y" * 900)
    lines = shown_on_terminal(update("aws_iam_policy.x", long), width=width)
    assert max(map(len, lines)) <= width


def test_the_log_of_a_process_that_ended_is_not_shown_before_the_cause() -> None:
    from mjctl.cli.output.run_view import provisioner_text
    from mjctl.terraform.events import ProvisionerLine

    address = "module.api.terraform_data.process"
    assert provisioner_text(ProvisionerLine(address, '  |   File "<frozen importlib._bootstrap>", line 1')) == ""
    assert provisioner_text(ProvisionerLine(address, "api: ready")) == "api: ready"


def results_on_terminal(*results: UnitResult) -> str:
    from mjctl.cli.output.run_view import results_table

    stream = io.StringIO()
    SafeConsole(stream, no_color=True).print(results_table(results, {}))
    return stream.getvalue()


def test_a_column_without_a_value_in_any_region_is_not_shown() -> None:
    applied = UnitResult("us-east-1", UnitOutcome.APPLIED)
    assert not re.search("HEALTH|FORGET", results_on_terminal(applied))
    watched = UnitResult("eu-west-1", UnitOutcome.UNHEALTHY, verdict=GateVerdict(False, 2, 5.0, ("login: refused",)))
    text = results_on_terminal(applied, watched)
    assert "HEALTH" in text
    assert "unhealthy after 2 observations in 5 s: login: refused" in " ".join(text.split())
    forgotten = UnitResult("eu-west-1", UnitOutcome.PLANNED, changes=(Change("x", "forget"),))
    assert "FORGET" in results_on_terminal(applied, forgotten)
