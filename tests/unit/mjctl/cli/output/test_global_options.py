from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mjctl.__main__ import run
from mjctl.cli.app import tree
from mjctl.cli.group import ONLY_ON_THE_LINE
from mjctl.cli.output.global_options import hoist
from mjctl.models.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["plan", "--quiet", "-r", "a"], ["--quiet", "plan", "-r", "a"]),
        (["plan", "--log-file", "f", "--no-color"], ["--log-file", "f", "--no-color", "plan"]),
        (["plan", "--log-file=f"], ["--log-file=f", "plan"]),
        (["cache", "get", "--", "--quiet"], ["cache", "get", "--", "--quiet"]),
        (["plan", "--log-file"], ["--log-file", "plan"]),
    ],
)
def test_global_options_may_be_anywhere_on_the_line(given: list[str], parsed: list[str]) -> None:
    assert hoist(given) == parsed


def test_the_log_file_is_private_and_has_command_errors_and_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    assert run(["config", "show", "--env", "nowhere", "--log-file", str(log)]) == ExitCode.NOT_FOUND
    assert "no environment" in capsys.readouterr().err
    assert log.stat().st_mode & 0o077 == 0
    lines = log.read_text().splitlines()
    assert "error: no environment `nowhere`" in lines[1]
    assert lines[-1].endswith("exit code 13")


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--quiet", "--verbose"]) == ExitCode.USAGE
    assert "exclude" in capsys.readouterr().err


def test_a_log_file_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--log-file", str(tmp_path / "no" / "log")]) == ExitCode.PERMISSION
    assert str(tmp_path / "no" / "log") in capsys.readouterr().err


def test_every_option_has_an_environment_variable() -> None:
    def options(command: Any, path: str) -> list[tuple[str, Any]]:
        listed = [
            (path, parameter)
            for parameter in command.params
            if parameter.param_type_name == "option" and parameter.name != "help" and not parameter.is_eager
        ]
        for name, child in getattr(command, "commands", {}).items():
            listed += options(child, f"{path} {name}")
        return listed

    every = options(tree(), "mjctl")
    assert len(every) > 100
    for path, option in every:
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
        if not ONLY_ON_THE_LINE.isdisjoint(option.opts):
            continue
        assert names, f"{path} {option.name}"
        assert all(name.startswith("MJCTL_") for name in names), f"{path} {option.name}"


def test_a_variable_sets_its_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MJCTL_ALL", "1")
    assert run(["config", "validate", "--output", "json"]) == ExitCode.OK
    assert '"prod"' in capsys.readouterr().out


def test_no_color_switches_colours_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(["doctor"])
    assert "\x1b[" in capsys.readouterr().out
    run(["doctor", "--no-color"])
    assert "\x1b[" not in capsys.readouterr().out
