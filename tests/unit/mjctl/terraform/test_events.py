from __future__ import annotations

import json

import pytest

from mjctl.models.deployment import Change
from mjctl.models.errors import DependencyError
from mjctl.terraform.events import (
    ChangeSummary,
    Diagnostic,
    OperationDone,
    OutputsPublished,
    PlainText,
    ProvisionerLine,
    parse_line,
)

RESOURCE = {"addr": 'module.process["redis"].terraform_data.process', "resource_type": "terraform_data"}


def line(kind: str, **rest: object) -> str:
    return json.dumps({"@level": "info", "@message": "", "type": kind, **rest})


def test_a_planned_change_is_parsed() -> None:
    change = {"resource": RESOURCE, "action": "replace", "reason": "replace_by_triggers"}
    assert parse_line(line("planned_change", change=change)) == Change(
        RESOURCE["addr"], "replace", "replace_by_triggers", "terraform_data"
    )


def test_a_forgotten_resource_is_not_a_deletion() -> None:
    # Terraform 1.11 sends the message `planned_change` with the action "remove" for a block
    # `removed { lifecycle { destroy = false } }`.
    change = {"resource": RESOURCE, "action": "remove", "reason": "delete_because_no_resource_config"}
    event = parse_line(line("planned_change", change=change))
    assert isinstance(event, Change)
    assert event.action == "forget"


def test_the_line_of_a_provisioner_has_no_line_end() -> None:
    event = parse_line(line("provision_progress", hook={"resource": RESOURCE, "output": "redis is ready\n"}))
    assert event == ProvisionerLine(RESOURCE["addr"], "redis is ready")


@pytest.mark.parametrize(("kind", "ok"), [("apply_complete", True), ("apply_errored", False)])
def test_the_end_of_an_operation_is_parsed(kind: str, ok: bool) -> None:
    hook = {"resource": RESOURCE, "action": "create", "elapsed_seconds": 3}
    assert parse_line(line(kind, hook=hook)) == OperationDone(RESOURCE["addr"], "create", 3, ok)


def test_a_diagnostic_has_its_place() -> None:
    message = {
        "severity": "error",
        "summary": "Invalid value",
        "detail": "zones must be distinct",
        "range": {"filename": "variables.tf", "start": {"line": 7}},
    }
    event = parse_line(line("diagnostic", diagnostic=message))
    assert isinstance(event, Diagnostic)
    assert event.place == "variables.tf:7"
    assert "zones must be distinct" in str(event)


def test_a_summary_has_its_operation() -> None:
    changes = {"add": 3, "change": 0, "import": 0, "remove": 1, "operation": "plan"}
    event = parse_line(line("change_summary", changes=changes))
    assert event == ChangeSummary(3, 0, 1, "plan")
    assert event.total == 4


def test_outputs_are_parsed_and_a_hidden_output_is_none() -> None:
    outputs = {"contract": {"sensitive": False, "type": "string", "value": "x"}, "hidden": {"sensitive": True}}
    assert parse_line(line("outputs", outputs=outputs)) == OutputsPublished({"contract": "x", "hidden": None})


@pytest.mark.parametrize("text", ["", "   ", line("log"), line("a_type_of_next_year", anything=1)])
def test_an_unused_message_is_ignored(text: str) -> None:
    assert parse_line(text) is None


@pytest.mark.parametrize("text", ["Error: no backend", '["a list"]', '"a string"', "{broken", '{"no": "type"}'])
def test_a_line_that_is_not_a_message_is_kept_as_text(text: str) -> None:
    assert parse_line(text) == PlainText(text)


@pytest.mark.parametrize("ui", ["1.0", "1.2", "1.99"])
def test_any_minor_version_of_the_stream_is_accepted(ui: str) -> None:
    assert parse_line(line("version", terraform="1.15.5", ui=ui)) is None


@pytest.mark.parametrize("ui", ["2.0", "0.9", ""])
def test_another_major_version_is_refused(ui: str) -> None:
    with pytest.raises(DependencyError):
        parse_line(line("version", terraform="9.9", ui=ui))
