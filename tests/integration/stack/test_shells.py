"""Deploys a region in shells and folders with unusual settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mjctl.models.exit_codes import ExitCode

from .conftest import REGION, Operator

pytestmark = [pytest.mark.stack, pytest.mark.slow]

HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_CA_BUNDLE": "/no/such/bundle.pem",
    "AWS_CONFIG_FILE": "/no/such/config",
    "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
    "AWS_PROFILE": "nosuch",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "ALL_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "PGHOST": "/no/such/folder",
    "TF_CLI_ARGS": "-nosuch",
    "TF_CLI_ARGS_plan": "-destroy",
    "TF_DATA_DIR": "/no/such/folder",
    "TF_LOG": "TRACE",
    "TF_REATTACH_PROVIDERS": "{",
    "TF_VAR_region": "mars",
    "TF_WORKSPACE": "other",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


def test_a_region_is_deployed_and_destroyed_in_an_unusual_shell(tmp_path: Path) -> None:
    """Deploy with misleading variables, in a path with blanks and brackets, and without HOME."""
    operator = Operator(tmp_path / "My Games [1]" / "home")
    kept = {name: value for name, value in operator.environment.items() if name not in ("HOME", "NO_PROXY", "no_proxy")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mjctl", *arguments, "--region", REGION]
        return subprocess.run(command, env={**kept, **HOSTILE}, capture_output=True, text=True, check=False)

    try:
        ran = run("deploy", "--auto-approve")
        assert ran.returncode == ExitCode.OK, ran.stderr
        ran = run("health")
        assert ran.returncode == ExitCode.OK, ran.stdout + ran.stderr
        ran = run("cache", "stats")
        assert ran.returncode == ExitCode.OK, ran.stderr
    finally:
        ran = run("destroy", "--auto-approve")
    assert ran.returncode == ExitCode.OK, ran.stderr
    assert operator.processes() == []
