"""Tests that emulators listen on the loopback only, that several run at the same time, and that all of them end."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mjctl.models.errors import DependencyError, UnreachableError
from mjctl.sandbox.emulators import Emulators


def children(folder: Path) -> set[int]:
    """Return the child processes whose command line names `folder`, because other tests have child processes too."""
    pids = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if str(folder) in " ".join(process.cmdline()):
                pids.add(process.pid)
    return pids


def test_two_sandboxes_run_at_the_same_time_and_leave_no_process(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        Emulators(tmp_path / "a", names=["ministack"]) as first,
        Emulators(tmp_path / "b", names=["ministack"]) as second,
    ):
        assert first.url("ministack") != second.url("ministack")
        first.client("sqs", "eu-west-1").create_queue(QueueName="only-here")
        assert second.client("sqs", "eu-west-1").list_queues().get("QueueUrls", []) == []
        assert first.client("sts", "eu-west-1").get_caller_identity()["Account"] == first.account_id
        started = children(tmp_path)
        assert len(started) == 2
        listening = {
            c.laddr.ip for pid in started for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}
    assert children(tmp_path) == set()


def test_the_error_of_an_emulator_that_ends_early_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnreachableError) as failed, Emulators(tmp_path, names=["ministack"]):
        pass
    assert failed.value.where == str(tmp_path / "ministack.log")


def test_the_error_of_a_missing_emulator_has_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'moto'\"; exit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(DependencyError) as failed, Emulators(tmp_path, names=["moto"]):
        pass
    assert "sandbox" in str(failed.value.hint)


def test_without_moto_ministack_answers_for_all_services(tmp_path: Path) -> None:
    with Emulators(tmp_path, names=["ministack"]) as running:
        assert running.endpoints() == {"AWS_ENDPOINT_URL": running.url("ministack"), **running.key.variables}
