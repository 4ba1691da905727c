"""Tests how a fault gets into a copy of the project. `make stage-faults` deploys such copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.checkout import ROOT
from tools.stage.planting import Finding, apply_patch, copy_project
from tools.stage.steps import Failure

PATCH = """\
--- a/configs/sandbox.yaml
+++ b/configs/sandbox.yaml
@@ -1,3 +1,3 @@
 {first}
-project: arena
+project: other
 target: sandbox
"""
FINDING = Finding("a.patch", "first deploy", "mjctl deploy", (), "no route", 61.2)


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    first = (ROOT / "configs/sandbox.yaml").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "fault.patch").write_text(PATCH.format(first=first), encoding="utf-8")
    return tmp_path / "fault.patch"


def test_a_patch_changes_only_the_copy(patch: Path, tmp_path: Path) -> None:
    copy_project(tmp_path / "copy")
    apply_patch(patch, tmp_path / "copy")
    assert "project: other" in (tmp_path / "copy/configs/sandbox.yaml").read_text(encoding="utf-8")
    assert "project: arena" in (ROOT / "configs/sandbox.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "copy/terraform/stacks/region/main.tf").is_file()
    assert (tmp_path / "copy/gameserver/migrations/env.py").is_file()


def test_a_patch_that_does_not_fit_is_an_error(patch: Path, tmp_path: Path) -> None:
    copy_project(tmp_path / "copy")
    apply_patch(patch, tmp_path / "copy")
    with pytest.raises(Failure, match="the patch: does not fit"):
        apply_patch(patch, tmp_path / "copy")


def test_the_line_of_a_finding_says_in_which_form_which_step_found_the_fault() -> None:
    assert FINDING.line() == "a.patch (first deploy): found after 61 s by mjctl deploy: no route"
    missed = replace(FINDING, found_by=None, form="changed deploy")
    assert missed.line() == "a.patch (changed deploy): not found; every check passed after 61 s"
