from __future__ import annotations

import os
import subprocess
import sys

import pytest


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAMESERVER_")}
    return subprocess.run(
        [sys.executable, "-m", "gameserver", *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_version_is_printed() -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("gameserver ")


def test_no_command_shows_the_commands() -> None:
    done = _run()
    assert done.returncode == 64
    assert done.stdout == ""
    for command in ("serve", "api", "worker", "migrate"):
        assert command in done.stderr


@pytest.mark.parametrize("command", ["api", "worker", "migrate", "serve"])
def test_a_missing_variable_is_reported_in_one_line_with_exit_code_78(command: str) -> None:
    done = _run(command)
    assert done.returncode == 78
    assert done.stderr == f"gameserver {command}: GAMESERVER_PROJECT is not set\n"


@pytest.mark.parametrize(
    ("command", "missing"), [("api", "GAMESERVER_DATABASE_HOST"), ("worker", "GAMESERVER_PERSISTENCE_QUEUE_URL")]
)
def test_each_process_reports_the_variables_that_it_needs(command: str, missing: str) -> None:
    basics = {"GAMESERVER_PROJECT": "p", "GAMESERVER_ENVIRONMENT": "e", "GAMESERVER_REGION": "us-east-1"}
    done = _run(
        command, **basics, GAMESERVER_STATE_URL="redis://127.0.0.1:1", GAMESERVER_CACHE_URL="redis://127.0.0.1:1"
    )
    assert done.returncode == 78
    assert missing in done.stderr


@pytest.mark.parametrize("command", ["api", "worker", "migrate", "serve"])
def test_a_process_that_requires_tls_refuses_addresses_without_tls_with_exit_code_78(command: str) -> None:
    basics = {"GAMESERVER_PROJECT": "p", "GAMESERVER_ENVIRONMENT": "e", "GAMESERVER_REGION": "us-east-1"}
    done = _run(command, **basics, GAMESERVER_TLS_REQUIRED="true", GAMESERVER_STATE_URL="redis://127.0.0.1:1")
    assert done.returncode == 78
    assert done.stderr.startswith(f"gameserver {command}: GAMESERVER_STATE_URL begins with redis://, but ")
    assert done.stderr.count("\n") == 1
