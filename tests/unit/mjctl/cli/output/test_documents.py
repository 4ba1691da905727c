"""Tests of the models of the JSON documents. The integration tests check every document that a command prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from mjctl.__main__ import run
from mjctl.cli.app import tree
from mjctl.cli.output.documents import MODELS, document, json_schema
from mjctl.cli.output.json_document import json_text
from mjctl.models.exit_codes import ExitCode
from tests.documents import read_document

ENVELOPE = {"schema", "command", "environment", "regions"}


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}".strip())


WITH_OUTPUT = [
    name for name, command in commands(tree()) if any("--output" in parameter.opts for parameter in command.params)
]


def test_every_command_with_output_has_a_published_document() -> None:
    assert sorted(MODELS) == sorted(WITH_OUTPUT)


@pytest.mark.parametrize("name", MODELS)
def test_every_schema_has_the_envelope(name: str) -> None:
    schema = json_schema(name)
    assert set(schema["required"]) >= ENVELOPE
    assert schema["properties"]["command"]["const"] == name
    assert schema["properties"]["schema"]["const"] == f"mjctl.{name.replace(' ', '-')}/2"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_of_a_region_names_the_region(name: str) -> None:
    schema = json_schema(name)
    items = schema["properties"]["regions"].get("items", {})
    for option in items.get("anyOf", [items]):
        if "$ref" in option:
            entry = schema["$defs"][option["$ref"].rpartition("/")[2]]
            assert "region" in entry.get("required", ()) or entry["title"] == "JsonDocument", name


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_the_document_of_an_error_names_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--nosuch", "--output", "json"]) == ExitCode.USAGE
    failure = read_document(capsys.readouterr().out)
    assert (failure["schema"], failure["command"], failure["environment"]) == ("mjctl.error/2", name, None)
    assert failure["regions"] == []
    assert failure["error"]["name"] == "usage"


def test_the_document_of_an_error_without_a_command_has_the_same_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nosuch", "--output", "json"]) == ExitCode.USAGE
    assert read_document(capsys.readouterr().out)["command"] is None


@pytest.mark.parametrize(
    "line", ["version", "doctor", "config validate", "config validate --all", "config show", "history", "status"]
)
def test_commands_that_need_no_region_print_the_envelope(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MJCTL_HOME", str(tmp_path))
    assert run([*line.split(), "--output", "json"]) == ExitCode.OK
    printed = read_document(capsys.readouterr().out)
    assert printed["command"] == line.removesuffix(" --all")
    without = printed["command"] in ("version", "doctor") or line.endswith("--all")
    assert printed["environment"] == (None if without else "local")


def test_a_field_that_is_not_published_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        document("version", None, (), {"version": "1", "more": 1})


def test_a_deeply_nested_value_of_the_cache_fits_its_document() -> None:
    value: list[Any] = []
    for _ in range(511):
        value = [value]
    entry = {"region": "us-east-1", "key": "a:b", "found": True, "value": value, "ttl_seconds": None}
    assert '"found": true' in json_text(document("cache get", "local", [entry]))
