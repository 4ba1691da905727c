"""Tests how the tools of the stage run commands of mjctl."""

from __future__ import annotations

from pathlib import Path

from tools.checkout import ROOT
from tools.stage.commands import Commands


def test_a_command_returns_its_document_and_its_exit_code(tmp_path: Path) -> None:
    ran = Commands(ROOT, tmp_path, progress=False).run("sandbox", "status")
    assert (ran.code, ran.late) == (0, False)
    assert ran.document


def test_a_command_that_exceeds_its_time_limit_is_interrupted(tmp_path: Path) -> None:
    ran = Commands(ROOT, tmp_path, progress=False).run("sandbox", "status", limit_seconds=0.001)
    assert ran.late
    assert ran.code != 0
    assert ran.document == {}
