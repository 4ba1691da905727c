from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.terraform.providers import cli_configuration, find_mirror, provider_variables


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("TF_PLUGIN_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def test_the_mirror_in_the_variable_is_used(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    assert find_mirror() == mirror
    variables = provider_variables({}, tmp_path / "home")
    configuration = Path(variables["TF_CLI_CONFIG_FILE"])
    assert f'"{mirror}"' in configuration.read_text()
    assert configuration.stat().st_mode & 0o077 == 0
    assert variables["TF_PLUGIN_CACHE_DIR"] == str(tmp_path / "home" / "providers")


def test_a_mirror_in_a_well_known_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_PLUGIN_MIRROR", raising=False)
    monkeypatch.setattr("mjctl.terraform.providers._PREFIXES", (str(tmp_path),))
    assert find_mirror() is None
    (tmp_path / "plugins" / "registry.terraform.io" / "hashicorp" / "aws").mkdir(parents=True)
    assert find_mirror() == tmp_path / "plugins"


def test_the_users_settings_take_precedence(mirror: Path, tmp_path: Path) -> None:
    assert provider_variables({"TF_CLI_CONFIG_FILE": "own.tfrc"}, tmp_path) == {}
    own = tmp_path / "person" / ".terraformrc"
    own.parent.mkdir()
    own.touch()
    assert provider_variables({}, tmp_path) == {}
    own.unlink()
    assert "TF_PLUGIN_CACHE_DIR" not in provider_variables({"TF_PLUGIN_CACHE_DIR": "own"}, tmp_path)


def test_without_a_mirror_the_registry_is_used() -> None:
    assert "direct {}" in cli_configuration(None)
