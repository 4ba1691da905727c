"""Tests that supervisord reads every command and variable unchanged from its configuration files."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.datatypes import dict_of_key_value_pairs
from supervisor.options import ServerOptions

from mjctl.local.layout import Layout
from mjctl.local.supervisord_config import program_config, supervisor_config, write_config
from mjctl.models.errors import ConfigError

LAYOUT = Layout(Path("/somewhere/us-east-1"))

# Arguments of ConfigParser as supervisord sets them: no interpolation, and `;` and `#` after a space begin a comment.
PARSER = {"inline_comment_prefixes": (";", "#"), "strict": False}


def render(command: list[str], environment: dict[str, str]) -> configparser.RawConfigParser:
    text = program_config(LAYOUT, "api", command, environment, stop_signal="TERM", stop_seconds=10)
    parser = configparser.RawConfigParser(**PARSER)  # type: ignore[arg-type]
    parser.read_string(text)
    return parser


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(printable)
def test_a_variable_is_read_unchanged_or_rejected(value: str) -> None:
    try:
        parser = render(["python"], {"A": "1", "VALUE": value, "Z": "2"})
    except ConfigError:
        return
    expanded = parser["program:api"]["environment"] % {}
    assert dict_of_key_value_pairs(expanded) == {"A": "1", "VALUE": value, "Z": "2"}


@given(st.lists(printable, min_size=1, max_size=4))
def test_a_command_is_read_unchanged_or_rejected(command: list[str]) -> None:
    try:
        parser = render(command, {})
    except ConfigError:
        return
    assert shlex.split(parser["program:api"]["command"] % {}) == command


def test_json_in_a_variable_is_not_rejected() -> None:
    value = '{"probe": {"seats": 2, "rules": "a%b"}}'
    expanded = render(["python"], {"MODES": value})["program:api"]["environment"] % {}
    assert dict_of_key_value_pairs(expanded) == {"MODES": value}


@pytest.mark.parametrize("value", ["it's", '"quoted"', "two\nlines", "a ;comment", "a #comment"])
def test_a_value_that_the_format_cannot_represent_is_rejected(value: str) -> None:
    with pytest.raises(ConfigError, match="cannot contain"):
        render(["python"], {"VALUE": value})


@pytest.mark.parametrize("folder", ["plain", "My Games (1)", "a [b] c", "a*?b", "été"])
def test_supervisord_accepts_the_written_configuration(tmp_path: Path, folder: str) -> None:
    layout = Layout(tmp_path / folder)
    layout.create()
    layout.supervisor_base_config.write_text(supervisor_config(layout, tmp_path / "a.sock", 1024))
    text = program_config(layout, "api", ["/bin/sh", "-c", "exit 0"], {"A": "1"}, stop_signal="INT", stop_seconds=7)
    (layout.program_configs / "api.conf").write_text(text)
    write_config(layout)
    options = ServerOptions()
    options.realize(["-c", str(layout.supervisor_config)])
    groups = {group.name: group for group in options.process_group_configs}
    assert set(groups) == {"api", "watchdog"}
    program = groups["api"].process_configs[0]
    assert program.autorestart
    assert program.stopwaitsecs == 7
    assert program.killasgroup
