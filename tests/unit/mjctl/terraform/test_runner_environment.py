"""Tests which variables of the shell Terraform receives, for each target."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mjctl.terraform.runner import child_environment

SHELL = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_PROFILE": "nosuch",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "TF_CLI_ARGS_plan": "-refresh=false",
    "TF_PLUGIN_CACHE_DIR": "/plugins",
    "TF_REATTACH_PROVIDERS": "{}",
    "TF_VAR_region": "mars",
    "TF_WORKSPACE": "other",
}
UNTOUCHED = {"LANG": "C.UTF-8", "PATH": "/usr/bin"}


def environment(monkeypatch: pytest.MonkeyPatch, folder: Path, account: Any) -> dict[str, str]:
    monkeypatch.setattr("os.environ", {**UNTOUCHED, **SHELL, "HOME": str(folder)})
    (folder / "a").mkdir()
    stack: Any = SimpleNamespace(account=account, folder=folder / "a" / "b" / "c", data_dir=folder / "data")
    return child_environment(stack)


def left(variables: dict[str, str]) -> dict[str, str]:
    return {name: variables[name] for name in SHELL if variables.get(name) == SHELL[name]}


def test_terraform_of_a_local_region_receives_no_settings_of_the_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = environment(monkeypatch, tmp_path, None)
    assert left(variables) == {}
    assert variables.items() >= UNTOUCHED.items()


def test_terraform_of_the_sandbox_receives_only_proxies_and_provider_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = SimpleNamespace(emulated=True, variables=(("AWS_ACCESS_KEY_ID", "MJKEY"),))
    variables = environment(monkeypatch, tmp_path, account)
    assert set(left(variables)) == {"HTTPS_PROXY", "http_proxy", "TF_PLUGIN_CACHE_DIR"}
    assert variables["AWS_ACCESS_KEY_ID"] == "MJKEY"
    assert "AWS_PROFILE" not in variables


def test_terraform_of_aws_receives_the_operators_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variables = environment(monkeypatch, tmp_path, SimpleNamespace(emulated=False, variables=()))
    expected = {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "HTTPS_PROXY", "http_proxy", "TF_PLUGIN_CACHE_DIR"}
    assert set(left(variables)) == expected
