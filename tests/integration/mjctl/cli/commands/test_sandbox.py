"""Tests of `mjctl sandbox`, which the tests run as an operator does, with the real emulators."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from mjctl.__main__ import run
from mjctl.models.exit_codes import ExitCode
from mjctl.sandbox import daemon
from tests.documents import read_document

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    daemon.stop(tmp_path / "home" / "sandbox")


@pytest.fixture
def mjctl(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    return call


def exported(text: str) -> dict[str, str]:
    """Return the variables that a shell would have after `eval`."""
    words = [shlex.split(line) for line in text.splitlines()]
    assert {word[0] for word in words} == {"export"}
    return dict(word[1].split("=", 1) for word in words)


def status(mjctl: Command) -> dict[str, Any]:
    code, out, _ = mjctl("sandbox", "status", "--output", "json")
    assert code == ExitCode.OK
    document: dict[str, Any] = read_document(out)
    return document


def test_the_life_of_a_sandbox_from_up_to_forget(mjctl: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(mjctl)["state"] == "down"
    assert mjctl("sandbox", "logs")[0] == ExitCode.NOT_FOUND
    code, out, err = mjctl("sandbox", "up")
    assert code == ExitCode.OK
    assert err == "The sandbox is running.\n"
    variables = exported(out)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # The test makes a new session, because the default session of boto3 would keep the credentials of the test that
    # used the default session first.
    aws = boto3.Session()
    aws.client("sqs").create_queue(QueueName="kept")
    aws.client("ecr").create_repository(repositoryName="kept/game")

    code, out, err = mjctl("sandbox", "up", "--output", "json")
    assert (code, err) == (ExitCode.OK, "The sandbox is running already.\n")
    document = read_document(out)
    assert document["variables"] == variables
    assert document["started"] == []
    shown = status(mjctl)
    assert shown["state"] == "up"
    assert [emulator["name"] for emulator in shown["emulators"]] == ["ministack", "moto"]
    assert all(emulator["memory_bytes"] > 10_000_000 for emulator in shown["emulators"])
    code, out, _ = mjctl("sandbox", "status")
    assert shown["emulators"][0]["url"] in out

    code, out, _ = mjctl("sandbox", "logs", "ministack", "--lines", "1")
    assert code == ExitCode.OK
    assert len(out.splitlines()) == 1
    code, out, _ = mjctl("sandbox", "logs")
    assert {line.split(" | ")[0] for line in out.splitlines()} == {"ministack", "moto"}

    # The folder and the history file imitate the files of a deploy.
    (home / "sandbox" / "us-east-1" / "terraform").mkdir(parents=True)
    (home / "sandbox" / "history.jsonl").write_text("{}\n")
    code, _, err = mjctl("sandbox", "down")
    assert code == ExitCode.OK
    saved = "All deployed resources are saved. `mjctl sandbox up` starts with the saved resources."
    assert err == f"Stopped ministack and moto.\n{saved}\n"
    assert mjctl("sandbox", "down")[2].startswith("The sandbox was not running.")
    _, _, err = mjctl("sandbox", "up")
    assert err == "The sandbox is running, with everything that was deployed before.\n"
    assert len(aws.client("sqs").list_queues()["QueueUrls"]) == 1

    assert mjctl("sandbox", "down", "--forget")[0] == ExitCode.REFUSED
    assert status(mjctl)["state"] == "up"
    code, out, _ = mjctl("sandbox", "down", "--forget", "--yes", "--output", "json")
    document = read_document(out)
    assert (document["stopped"], document["forgotten"]) == (["ministack", "moto"], ["us-east-1"])
    assert not (home / "sandbox" / "us-east-1").exists()
    assert not (home / "sandbox" / "sandbox" / "state").exists()
    assert (home / "sandbox" / "history.jsonl").exists()


@pytest.mark.parametrize("command", ["up", "down", "status", "logs"])
def test_another_target_is_refused_and_no_folder_is_made(mjctl: Command, home: Path, command: str) -> None:
    code, out, err = mjctl("sandbox", command, "--env", "staging")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "its target is aws" in err
    assert not home.exists()


def test_an_unknown_emulator_is_refused(mjctl: Command) -> None:
    code, _, err = mjctl("sandbox", "logs", "localstack")
    assert code == ExitCode.USAGE
    assert "ministack and moto" in err
