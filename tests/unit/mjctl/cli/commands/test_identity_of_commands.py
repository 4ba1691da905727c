"""Tests of every command that uses AWS, with unusable credentials: exit code 10, and advice that solves the problem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mjctl.cli.app import tree
from mjctl.clients import account as accounts
from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace
from tests.integration.mjctl.conftest import CommandLine
from tests.unit.mjctl.clients.identities import break_identity

REGION = "us-east-1"
COMMANDS = {
    "backup create": "-r us-east-1",
    "backup discard": "x -r us-east-1 --yes",
    "backup drill": "-r us-east-1",
    "backup list": "-r us-east-1",
    "backup prune": "-r us-east-1 --yes",
    "backup restore": "x -r us-east-1 --yes",
    "backup show": "x -r us-east-1",
    "backup verify": "-r us-east-1",
    "bootstrap": "--auto-approve",
    "cache expire": "profile:p1 5 -r us-east-1",
    "cache flush": "-r us-east-1 --yes",
    "cache get": "profile:p1 -r us-east-1",
    "cache hot": "-r us-east-1",
    "cache invalidate": "profile:p1 -r us-east-1",
    "cache keys": "-r us-east-1",
    "cache stats": "-r us-east-1",
    "cache ttl": "profile:p1 -r us-east-1",
    "deploy": "-r us-east-1 --auto-approve",
    "destroy": "-r us-east-1 --auto-approve",
    "drift": "-r us-east-1",
    "failover": "-r us-east-1 --yes",
    "health": "-r us-east-1",
    "history": "",
    "loadtest": "-r us-east-1",
    "outputs": "-r us-east-1",
    "package": "--push",
    "plan": "-r us-east-1",
    "queue list": "-r us-east-1",
    "queue peek": "persistence -r us-east-1",
    "queue purge": "persistence -r us-east-1 --yes",
    "queue redrive": "persistence -r us-east-1",
    "rollback": "-r us-east-1 --auto-approve",
    "servers drain": "game-1 -r us-east-1 --yes",
    "servers list": "-r us-east-1",
    "servers restart": "-r us-east-1 --yes",
    "servers scale": "2 -r us-east-1 --auto-approve",
    "status": "",
    "unlock": "-r us-east-1",
}
# Commands that need no AWS credentials, because they read only files and processes of this machine.
LOCAL = {
    "completion",
    "config schema",
    "config show",
    "config validate",
    "doctor",
    "help",
    "sandbox calls",
    "sandbox down",
    "sandbox logs",
    "sandbox mail",
    "sandbox status",
    "sandbox up",
    "version",
}
# One fault of AWS credentials of each kind: a profile, a token, a process, a file.
KINDS = ("unknown profile", "sign-in expired", "process prints no JSON", "config cannot be parsed")


@pytest.fixture
def mjctl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CommandLine]:
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(Workspace.discover(Path(__file__)).project_dir))
    # The build of the functions' archive takes half a minute and needs no AWS, so the tests skip the build.
    monkeypatch.setattr("mjctl.deploy.releases.release_artifacts.functions_of", lambda *_: None)
    forget = (accounts._client, accounts._account_of_credentials, accounts._key_of_bucket, accounts._region_of_bucket)
    for cached in forget:
        cached.cache_clear()
    yield CommandLine({}, capsys)
    for cached in forget:
        cached.cache_clear()


def names(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from names(inner, (*path, name))
    else:
        yield " ".join(path)


def test_every_command_is_listed_as_using_aws_or_not() -> None:
    assert set(names(tree())) == set(COMMANDS) | LOCAL


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reports_unusable_credentials(
    command: str, mjctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS[sorted(COMMANDS).index(command) % len(KINDS)]
    refused(mjctl, command, break_identity(kind, tmp_path, monkeypatch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["plan", "health", "status"])
def test_every_kind_of_unusable_credentials_is_reported(
    command: str, kind: str, mjctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(mjctl, command, break_identity(kind, tmp_path, monkeypatch))


def refused(mjctl: Any, command: str, advice: str) -> None:
    ran = mjctl(*command.split(), "--env", "prod", *COMMANDS[command].split())
    shown = " ".join(ran.err.split())
    assert ran.code == ExitCode.PERMISSION, shown
    assert "no AWS credentials can be used" in shown
    assert advice in shown
    assert "network" not in shown
    assert "Traceback" not in shown
    assert "hunter2" not in shown
