"""Tests that every fault fits the code. `make stage-faults` shows that the expected check finds each fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.checkout import ROOT
from tools.stage.fault_list import FAULTS, Edit, Fault
from tools.stage.faults import as_expected, changed, plant
from tools.stage.planting import Finding
from tools.stage.steps import Failure

FINDING = Finding("fault", "changed deploy", "mjctl health --region=us-east-1", ("login", "match"), "failed", 1.0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_the_files_it_names(fault: Fault) -> None:
    texts = changed(fault, ROOT)
    assert {str(path.relative_to(ROOT)) for path in texts} == {edit.file for edit in fault.edits}
    for path, text in texts.items():
        assert text != path.read_text(encoding="utf-8")


def test_names_of_faults_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_fault_names_the_check_that_finds_it_or_a_reason() -> None:
    assert all(bool(fault.found_by) != bool(fault.unfound) for fault in FAULTS)


def test_at_least_22_faults_of_foundation_region_edge_and_modules_are_planted() -> None:
    planted = [fault for fault in FAULTS if not fault.unfound]
    assert len(planted) >= 22
    folders = {"/".join(edit.file.split("/")[1:3]) for fault in planted for edit in fault.edits}
    assert {"stacks/foundation", "stacks/region", "modules/edge", "modules/game_service"} <= folders


@pytest.mark.parametrize(
    "edit",
    [Edit("terraform/nowhere.tf", "a", "b"), Edit("configs/sandbox.yaml", "no such text", "b")],
)
def test_a_fault_without_its_text_is_an_error(edit: Edit) -> None:
    with pytest.raises(Failure, match="occurs 0 times"):
        changed(replace(FAULTS[0], edits=(edit,)), ROOT)


def test_two_edits_of_one_file_are_both_planted(tmp_path: Path) -> None:
    (tmp_path / "a.tf").write_text("one two\n", encoding="utf-8")
    plant(replace(FAULTS[0], edits=(Edit("a.tf", "one", "1"), Edit("a.tf", "two", "2"))), tmp_path)
    assert (tmp_path / "a.tf").read_text(encoding="utf-8") == "1 2\n"


@pytest.mark.parametrize(
    ("expected", "finding", "answer"),
    [
        ("check match", FINDING, True),
        ("check queue/persistence", FINDING, False),
        ("mjctl health", FINDING, True),
        ("mjctl deploy", FINDING, False),
        ("check match", replace(FINDING, found_by=None, checks=()), False),
        ("a player's confirmation", replace(FINDING, found_by="a player's confirmation", checks=()), True),
    ],
)
def test_a_fault_counts_only_if_the_expected_check_found_it(expected: str, finding: Finding, answer: bool) -> None:
    assert as_expected(replace(FAULTS[0], found_by=expected), finding) is answer
