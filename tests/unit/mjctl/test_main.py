from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mjctl.__main__ import _wants_json, run
from mjctl.cli.commands import config
from mjctl.cli.session import Session
from mjctl.models.errors import MjctlError, NotFoundError
from mjctl.models.exit_codes import ExitCode
from tests.documents import read_document


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that receives the crash reports."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def raises(error: Exception) -> Any:
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


def test_an_internal_error_is_printed_as_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    monkeypatch.setattr(config, "open_environment", raises(RuntimeError("a \ud800 secret of nobody")))
    assert run(["config", "show", "--output", "json"]) == ExitCode.INTERNAL
    captured = capsys.readouterr()
    error = read_document(captured.out)["error"]
    assert (error["code"], error["name"]) == (1, "internal")
    assert error["what"] == "mjctl itself has failed: RuntimeError"
    (report,) = folder.iterdir()
    assert error["where"] == str(report)
    assert report.stat().st_mode & 0o077 == 0
    assert "Traceback" in report.read_text()
    assert "Traceback" not in captured.err


def test_an_internal_error_is_printed_even_if_its_report_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "none"))
    monkeypatch.setattr(config, "open_environment", raises(BrokenPipeError()))
    assert run(["config", "show"]) == ExitCode.INTERNAL
    assert "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("late"), NotFoundError("late")])
def test_an_error_after_the_json_document_prints_no_second_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    emit = Session.emit

    def emit_and_fail(self: Session, renderable: Any, **fields: Any) -> None:
        emit(self, renderable, **fields)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Session, "emit", emit_and_fail)
        code = run(["config", "validate", "--output", "json"])
    assert code == (error.exit_code if isinstance(error, MjctlError) else ExitCode.INTERNAL)
    captured = capsys.readouterr()
    assert read_document(captured.out)["environments"][0]["valid"] is True
    assert "error" in captured.err
    # A failed command that has printed no JSON document yet prints its error as a JSON document.
    assert run(["config", "validate", "--env", "nosuch", "--output", "json"]) == ExitCode.NOT_FOUND
    assert read_document(capsys.readouterr().out)["error"]["name"] == "not_found"


@pytest.mark.parametrize(
    ("line", "variable", "wanted"),
    [
        ("status --output json", None, True),
        ("status --output=json", None, True),
        ("status -o json", None, True),
        ("status -ojson", None, True),
        ("destroy -yo json", None, True),
        ("status", "json", True),
        ("status --output text", "json", False),
        ("status -o json -o text", None, False),
        ("status --nosuch -o json", None, True),
        ("cache get -- -o json", None, False),
        ("status --message json", None, False),
        ("status --output", None, False),
    ],
)
def test_the_error_of_an_invalid_command_line_is_json_if_the_line_asks_for_json(
    line: str, variable: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MJCTL_OUTPUT", raising=False)
    if variable:
        monkeypatch.setenv("MJCTL_OUTPUT", variable)
    assert _wants_json(line.split()) is wanted


@pytest.mark.parametrize("line", [[], ["cache"]])
def test_a_group_without_a_command_shows_its_help(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage: mjctl" in captured.err
    assert "error:" not in captured.err


@pytest.mark.parametrize(
    ("words", "shown"), [([], "Usage: mjctl "), (["cache"], "mjctl cache "), (["cache", "flush"], "mjctl cache flush ")]
)
def test_help_is_a_command(words: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", *words]) == ExitCode.OK
    assert shown in capsys.readouterr().out


def test_help_of_an_unknown_command_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "cache", "nosuch"]) == ExitCode.USAGE
    assert "flush" in capsys.readouterr().err


def test_version_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    from mjctl import __version__

    assert run(["version"]) == ExitCode.OK
    assert capsys.readouterr().out == f"mjctl {__version__}\n"
    assert run(["version", "--output", "json"]) == ExitCode.OK
    assert read_document(capsys.readouterr().out)["version"] == __version__


def test_foreign_text_in_an_error_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--env", "a\x1b[2J[red]\u202e"]) != ExitCode.INTERNAL
    assert r"a\x1b[2J[red]\u202e" in capsys.readouterr().err


def test_lines_of_an_error_after_the_first_are_indented(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "open_environment", raises(NotFoundError("first\nnext: run this", hint="second")))
    run(["config", "show"])
    assert capsys.readouterr().err.splitlines() == ["error: first", "         next: run this", "  next:  second"]
