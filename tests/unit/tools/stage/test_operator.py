"""Tests the programs that do an operator's work. `make stage-rehearsal` and `make stage-outages` do it on a stage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.stage import operator, outages, rehearsal
from tools.stage.commands import Commands, Ran
from tools.stage.operator import Operator, Result, expect, result_of
from tools.stage.steps import Failure, finding_of


@pytest.fixture
def worker(tmp_path: Path) -> Operator:
    return Operator(Commands(tmp_path, tmp_path / "home", progress=False))


def test_a_result_has_the_findings_of_its_operation_only(worker: Operator) -> None:
    worker.note("from an earlier operation")
    result = result_of(worker, "drift", lambda operator: operator.note("a queue changed"))
    assert (result.passed, result.report) == (True, "a queue changed")


def test_an_operation_with_another_result_does_not_pass(worker: Operator) -> None:
    def work(operator: Operator) -> None:
        operator.note("`deploy` 90 s")
        expect(False, "the region is unhealthy")

    result = result_of(worker, "drift", work)
    assert not result.passed
    assert result.report == "`deploy` 90 s; the result: the region is unhealthy"


def test_the_line_of_a_result_names_the_failure() -> None:
    assert Result("drift", 61.2, False, "no change").line() == "drift: FAILED in 61 s; no change"


def test_a_command_with_another_exit_code_is_a_failure(worker: Operator) -> None:
    with pytest.raises(Failure, match=r"mjctl status --all-regions: exit code 7 instead of 0: no mjctl project found"):
        worker.mjctl("status", "--all-regions")


def test_a_changed_file_is_restored_after_an_error(worker: Operator, tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text("old", encoding="utf-8")

    def work(operator: Operator) -> None:
        with operator.changed("game.py", lambda text: f"{text} and new"):
            assert (tmp_path / "game.py").read_text(encoding="utf-8") == "old and new"
            expect(False, "failed")

    with pytest.raises(Failure, match="failed"):
        work(worker)
    assert (tmp_path / "game.py").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("program", [outages, rehearsal])
def test_an_unknown_operation_is_refused_before_anything_is_deployed(
    program: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = outages.OUTAGES if program is outages else rehearsal.OPERATIONS
    monkeypatch.setattr(sys, "argv", ["program", "no-such"])
    with pytest.raises(SystemExit, match="2"):
        operator.run_program("program", "Summary.", operations)
    assert f"no operation is named no-such: choose from {', '.join(operations)}" in capsys.readouterr().err


def test_the_finding_of_a_rollout_names_the_failed_checks_of_the_gate() -> None:
    health = {"healthy": False, "failing": ["login: timed out", "api: HTTP status 503"]}
    rows = [{"region": "eu-west-1", "error": None, "health": health}, {"region": "us-east-1", "health": None}]
    ran = Ran("deploy", 3, {"regions": rows}, "", 1.0)
    assert finding_of(ran) == "eu-west-1: login: timed out; api: HTTP status 503"
