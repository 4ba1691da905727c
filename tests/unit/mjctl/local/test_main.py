"""Tests of `python -m mjctl.local`: the program writes a line to stdout, errors to stderr, and has mjctl's exit
codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mjctl.local.__main__ import main
from mjctl.models.exit_codes import ExitCode


@pytest.mark.parametrize("arguments", [[], ["dance"], ["start", "now"]])
def test_an_unknown_verb_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, {}) == ExitCode.USAGE
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "usage: python -m mjctl.local" in streams.err


@pytest.mark.parametrize(
    ("verb", "text", "reason"),
    [
        ("stop", "", "MJCTL_INPUT is not JSON"),
        ("stop", '{"name": "redis"}', "MJCTL_INPUT has no owner, region_dir"),
        ("stop", "[]", "MJCTL_INPUT has no name, owner, region_dir"),
        ("start", "[]", "MJCTL_INPUT has no JSON object"),
        ("start", '{"name": "redis"}', "the specification of a process is invalid"),
    ],
)
def test_the_error_of_invalid_input_has_its_reason(
    verb: str, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb], {"MJCTL_INPUT": text}) == ExitCode.CONFIG
    assert reason in capsys.readouterr().err


def test_stopping_a_missing_process_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"region_dir": str(tmp_path), "name": "redis", "owner": "one"}
    assert main(["stop"], {"MJCTL_INPUT": json.dumps(values)}) == ExitCode.OK
    assert capsys.readouterr().out == "redis: does not exist\n"


def test_the_error_of_a_start_without_supervisor_has_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = "redis://127.0.0.1:1"
    values = {
        "name": "redis",
        "kind": "redis",
        "owner": "one",
        "region_dir": str(tmp_path),
        "port": 1,
        "ready": address,
        "live": address,
    }
    assert main(["start"], {"MJCTL_INPUT": json.dumps(values)}) == ExitCode.UNREACHABLE
    assert "supervisor is not running" in (error := capsys.readouterr().err)
    assert f"hint: `mjctl deploy --env {tmp_path.parent.name} --region {tmp_path.name}`" in error


def test_the_verbs_import_no_heavy_module() -> None:
    """Check the imports of `python -m mjctl.local`, which a deploy runs a dozen times on few cores."""
    heavy = ("pydantic", "boto3", "botocore", "rich", "typer", "yaml", "asyncio", "psutil", "supervisor", "aiohttp")
    program = "import sys, mjctl.local.__main__, mjctl.local.lifecycle, mjctl.local.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in heavy if name in loaded] == []
