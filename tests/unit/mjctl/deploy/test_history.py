from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.cli.output.documents import document
from mjctl.cli.output.json_document import json_text
from mjctl.deploy.history import History
from mjctl.models.config_file import load_environment
from mjctl.models.deployment import UnitOutcome, UnitResult
from mjctl.models.errors import TerraformError
from mjctl.models.workspace import Workspace
from tests.documents import read_document


@pytest.fixture
def history(tmp_path: Path) -> History:
    project = Workspace.discover(Path(__file__)).project_dir
    workspace = Workspace(project, tmp_path)
    return History(workspace, load_environment(workspace, "local"))


def test_the_history_records_operator_command_message_and_outcome_of_a_run(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    first = history.start("deploy", ["us-east-1"], message="why", revision="abc", commit="def+changes")
    error = TerraformError("failed\nwith a very long output")
    history.finish(first, [UnitResult("us-east-1", UnitOutcome.FAILED, seconds=1.234, error=error)], 5, 2.0)
    history.start("rollback", ["us-east-1", "eu-west-1"])

    killed, ended = history.records()
    assert ended.who.startswith("ada@")
    assert (ended.command, ended.message, ended.revision, ended.commit) == ("deploy", "why", "abc", "def+changes")
    assert (ended.exit_code, ended.seconds) == (5, 2.0)
    assert [(unit.region, unit.outcome, unit.error) for unit in ended.regions] == [("us-east-1", "failed", "failed")]
    assert killed.exit_code is None
    assert killed.names == ("us-east-1", "eu-west-1")
    assert (tmp_path / "local" / "history.jsonl").stat().st_mode & 0o077 == 0
    text = json_text(document("history", "local", (), {"runs": history.records()}))
    assert read_document(text)["runs"][1]["id"] == first.id


def test_an_incomplete_line_does_not_hide_other_runs(history: History, tmp_path: Path) -> None:
    history.start("deploy", ["us-east-1"])
    with (tmp_path / "local" / "history.jsonl").open("a") as log:
        log.write('{"id": "half\n')
    history.start("destroy", ["us-east-1"])
    assert [record.command for record in history.records()] == ["destroy", "deploy"]


def test_the_history_is_empty_before_the_first_run(history: History) -> None:
    assert history.records() == []
