from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.models.config_file import environment_names, load_environment
from mjctl.models.errors import ConfigError, NotFoundError
from mjctl.models.workspace import Workspace

GOOD = """\
project: arena
target: local
regions:
  us-east-1:
    zones: [us-east-1a, us-east-1b, us-east-1c]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "configs").mkdir()
    (tmp_path / "terraform" / "stacks").mkdir(parents=True)
    return Workspace(tmp_path, tmp_path / "home")


def write(workspace: Workspace, text: str, name: str = "test") -> Path:
    path = workspace.configs_dir / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_with_its_defaults(workspace: Workspace) -> None:
    write(workspace, GOOD)
    environment = load_environment(workspace, "test")
    assert environment.name == "test"
    assert environment.game.tick_rate_hz == 20
    assert environment.regions["us-east-1"].zones == ("us-east-1a", "us-east-1b", "us-east-1c")


def test_the_shipped_environments_are_valid() -> None:
    workspace = Workspace.discover(Path(__file__))
    assert "local" in environment_names(workspace)
    for name in environment_names(workspace):
        load_environment(workspace, name)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "colour: red\n", 6, "colour"),
        (GOOD.replace("target: local", "target: moon"), 2, "target"),
        (GOOD.replace("us-east-1c]", "us-east-1b]"), 4, "distinct"),
        (GOOD.replace(", us-east-1c]", "]"), 5, "zones"),
        (GOOD + "game:\n  tick_rate_hz: fast\n", 7, "game.tick_rate_hz"),
        (GOOD + "game:\n  tick_rate_hz: 61\n", 7, "less than or equal to 60"),
        (GOOD.replace("target: local", "target: aws") + "local: {tls: true}\n", 1, "local.tls"),
        (GOOD.replace("us-east-1c", "eu-west-1c"), 1, "not a zone of us-east-1"),
        (GOOD + "name: other\n", 6, "must not stand in it"),
        (GOOD + "project: twice\n", 6, "stands twice (first on line 1)"),
        (GOOD + "local:\n  ports: {mars/api: 8080}\n", 1, "mars/api"),
        ("project: [\n", 2, "not valid YAML"),
        ("- a\n- b\n", 1, "mapping"),
        ("", 1, "mapping"),
        ("\tproject: x\n", 1, "not valid YAML"),
    ],
)
def test_an_error_names_file_line_and_field(workspace: Workspace, text: str, line: int, words: str) -> None:
    path = write(workspace, text)
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    shown = f"{caught.value.what} {caught.value.where}"
    assert f"{path}:{line}" in shown
    assert words in shown


def test_every_problem_of_a_file_is_named_at_once(workspace: Workspace) -> None:
    write(workspace, GOOD + "colour: red\nshape: round\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert "colour" in caught.value.what
    assert "shape" in caught.value.what


def test_a_missing_environment_names_those_that_exist(workspace: Workspace) -> None:
    write(workspace, GOOD, "alpha")
    with pytest.raises(NotFoundError) as caught:
        load_environment(workspace, "beta")
    assert "alpha" in (caught.value.hint or "")


def test_a_path_is_no_name(workspace: Workspace) -> None:
    write(workspace, GOOD)
    with pytest.raises(NotFoundError):
        load_environment(workspace, "../configs/test")


def test_no_project_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        Workspace.discover()
    assert "MJCTL_PROJECT_DIR" in (caught.value.hint or "")
