from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.clients.account import StageFiles, account_at, open_account
from mjctl.models.config_file import load_environment
from mjctl.models.workspace import Workspace
from mjctl.sandbox import daemon
from mjctl.sandbox.daemon import EmulatorProcess, RunningSandbox

WORKSPACE = Workspace.discover(Path(__file__))
ENVIRONMENT = load_environment(WORKSPACE, "sandbox")
ENDPOINTS = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_ECR": "http://127.0.0.1:2"}


def test_the_real_aws_is_not_emulated() -> None:
    assert account_at(ENVIRONMENT, {}).emulated_aws is None


def test_the_stack_gets_the_addresses_of_the_emulators_and_the_files_of_the_stage() -> None:
    stage = StageFiles("/stage/authority.pem", "/stage/names.json")
    assert account_at(ENVIRONMENT, ENDPOINTS, "/key.json", stage).emulated_aws == {
        "endpoint_url": "http://127.0.0.1:1",
        "secret": "file:/key.json",
        "service_endpoint_urls": {"ecr": "http://127.0.0.1:2"},
        "stage": {"ca_file": "/stage/authority.pem", "names_file": "/stage/names.json"},
    }


def test_an_emulated_aws_without_a_stage_has_no_files_of_a_stage() -> None:
    emulated = account_at(ENVIRONMENT, ENDPOINTS, "/key.json").emulated_aws
    assert emulated is not None
    assert emulated["stage"] is None


@pytest.mark.parametrize("has_stage", [True, False])
def test_the_account_of_a_sandbox_has_the_files_of_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_stage: bool
) -> None:
    emulators = tuple(EmulatorProcess(name, "1", 1, 1, 0.0, "") for name in daemon.NAMES)
    running = RunningSandbox("1", emulators, str(tmp_path / "key.json"), str(tmp_path) if has_stage else None)
    monkeypatch.setattr(daemon, "running", lambda _: running)
    stage = StageFiles(str(tmp_path / "authority" / "authority.pem"), str(tmp_path / "names.json"))
    assert open_account(WORKSPACE, ENVIRONMENT).stage == (stage if has_stage else None)
