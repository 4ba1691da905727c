"""Tests that recorded answers are read from a checkout and from a git directory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tools.recorded_answers.recordings import LICENSE, RecordingError, Recordings

FILE = "tests/aws/test_a.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "tests/aws").mkdir(parents=True)
    (folder / "LICENSE.txt").write_text(f'Licensed under the {LICENSE} (the "License")\n', encoding="utf-8")
    snapshot = {f"{FILE}::test_a": {"recorded-date": "a", "recorded-content": {"created": {"Name": "a"}}}}
    (folder / "tests/aws/test_a.snapshot.json").write_text(json.dumps(snapshot), encoding="utf-8")
    validation = {f"{FILE}::test_a": {"last_validated_date": "2026-01-02T03:04:05+00:00"}}
    (folder / "tests/aws/test_a.validation.json").write_text(json.dumps(validation), encoding="utf-8")
    return folder


@pytest.fixture(params=["checkout", "git"])
def recordings(request: pytest.FixtureRequest, checkout: Path) -> Recordings:
    if request.param == "git":
        author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        for arguments in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "a"]):
            subprocess.run(["git", *arguments], cwd=checkout, check=True)
        return Recordings(checkout / ".git")
    return Recordings(checkout)


def test_answers_and_their_validation_are_read(recordings: Recordings) -> None:
    assert recordings.license == LICENSE
    assert recordings.answers(FILE, "test_a") == {"created": {"Name": "a"}}
    assert recordings.validated(FILE, "test_a").startswith("2026-01-02")
    assert recordings.validated(FILE, "test_b") == ""
    assert len(recordings.commit) == (40 if recordings.folder.name == ".git" else 0)


def test_an_unknown_test_or_file_is_an_error(recordings: Recordings) -> None:
    with pytest.raises(RecordingError, match="test_b"):
        recordings.answers(FILE, "test_b")
    with pytest.raises(RecordingError):
        recordings.answers("tests/aws/test_nowhere.py", "test_a")


def test_another_licence_is_an_error(checkout: Path) -> None:
    (checkout / "LICENSE.txt").write_text("All rights reserved\n", encoding="utf-8")
    with pytest.raises(RecordingError, match="Apache"):
        _ = Recordings(checkout).license
