"""Tests the extraction of passages from each kind of file."""

from __future__ import annotations

import pytest

from tools.prose.passages import Kind, Passage, checked_files, passages_of

PYTHON = '''\
"""Counts players."""

# The limit of a room.
# It is a power of two.
LIMIT = 16  # players

# noqa: E501
# type: ignore


class Room:
    """Describes a room."""

    def enter(self, name: str) -> None:
        """Let a player enter.

        Args:
            name: name of the player.
        """
        if not name:
            raise ValueError(f"the player {name} has no name")
        report(hint="Ask the player for a name.", other="This text is for a program.")


async def test_a_room_is_empty_at_first() -> None:
    pass
'''


def texts(name: str, text: str) -> dict[Kind, list[str]]:
    """Group the texts of a file's passages by their kind."""
    grouped: dict[Kind, list[str]] = {}
    for passage in passages_of(name, text):
        grouped.setdefault(passage.kind, []).append(passage.text)
    return grouped


def test_lines_of_a_python_comment_are_one_passage_without_directives() -> None:
    assert texts("mjctl/room.py", PYTHON)[Kind.COMMENT] == ["The limit of a room. It is a power of two.", "players"]


def test_docstrings_have_the_name_of_their_object() -> None:
    found = {
        p.name: (p.line, p.text.split("\n")[0]) for p in passages_of("room.py", PYTHON) if p.kind is Kind.DOCSTRING
    }
    assert found == {
        "": (1, "Counts players."),
        "Room": (12, "Describes a room."),
        "Room.enter": (15, "Let a player enter."),
    }


def test_the_sections_of_a_docstring_keep_their_lines() -> None:
    docstring = texts("mjctl/room.py", PYTHON)[Kind.DOCSTRING][-1]
    assert docstring.splitlines() == ["Let a player enter.", "", "Args:", "name: name of the player."]


def test_messages_are_raised_texts_and_named_arguments() -> None:
    messages = texts("mjctl/room.py", PYTHON)[Kind.MESSAGE]
    assert sorted(messages) == ["Ask the player for a name.", "the player X has no name"]


def test_messages_of_tests_are_no_passages() -> None:
    assert Kind.MESSAGE not in texts("tests/unit/test_room.py", PYTHON)


def test_a_test_name_is_read_as_a_sentence() -> None:
    assert texts("tests/unit/test_room.py", PYTHON)[Kind.TEST_NAME] == ["a room is empty at first"]


@pytest.mark.parametrize(
    ("name", "sign"), [("main.tf", "#"), ("a.tftest.hcl", "#"), ("ci.yml", "#"), ("Makefile", "#")]
)
def test_comments_of_configuration_files_are_passages(name: str, sign: str) -> None:
    text = f"{sign} Keep this value.\n{sign} It has a reason.\nvalue = 1\n{sign} Another comment.\n"
    assert list(passages_of(name, text)) == [
        Passage(name, 1, Kind.COMMENT, "Keep this value. It has a reason."),
        Passage(name, 4, Kind.COMMENT, "Another comment."),
    ]


def test_descriptions_and_error_messages_of_terraform_are_messages() -> None:
    text = 'variable "name" {\n  description = "Name of ${var.project}."\n    error_message = "name is empty."\n}\n'
    assert texts("variables.tf", text)[Kind.MESSAGE] == ["Name of X.", "name is empty."]


@pytest.mark.parametrize("text", ["// Draw the arena.\n", "/*\n * Draw the arena.\n */\n"])
def test_comments_of_javascript_are_passages(text: str) -> None:
    assert "Draw the arena." in texts("web/arena.js", text)[Kind.COMMENT][0]


def test_a_page_has_headings_paragraphs_and_items_without_code_and_tables() -> None:
    text = (
        "# Rooms\n\nA **room** is\none [match](match.md).\n\n- The first item.\n- The second item.\n\n"
        "| a | table |\n|---|---|\n\n```console\n$ mjctl health\n```\n\n<!-- hidden -->\n\nThe end.\n"
    )
    assert [(p.line, p.text) for p in passages_of("docs/rooms.md", text)] == [
        (1, "Rooms"),
        (3, "A room is one match."),
        (6, "The first item."),
        (7, "The second item."),
        (18, "The end."),
    ]


def test_generated_files_and_quotations_are_not_checked() -> None:
    names = checked_files(".md", ".py")
    assert "docs/glossary.md" in names
    assert {"docs/cli.md", "docs/writing.md", "tools/prose/rules.py"} & set(names) == set()
