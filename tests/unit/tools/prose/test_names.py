"""Tests the search for public names without a docstring, and for vague variables."""

from __future__ import annotations

from tools.prose.names import Name, undocumented_names, vague_variables

SOURCE = '''\
"""Describes rooms."""

class Room:
    """Describes a room."""

    def enter(self): ...

    def leave(self):
        """Let a player leave."""

    def _hidden(self): ...

    @property
    def size(self): ...

    @size.setter
    def size(self, value): ...


def helper(): ...


def _private(): ...


if True:
    async def conditional(): ...
'''


def missing(source: str, **others: str) -> list[str]:
    """List the undocumented names of `source`, together with other files."""
    sources = {"room.py": source, **{f"{name}.py": text for name, text in others.items()}}
    return [name.name for name in undocumented_names(sources) if name.file == "room.py"]


def test_public_names_without_a_docstring_are_listed() -> None:
    assert missing(SOURCE) == ["Room.enter", "Room.size", "helper", "conditional"]


def test_a_name_has_its_file_and_line() -> None:
    assert undocumented_names({"a.py": '"""Adds."""\n\ndef add(): ...\n'}) == [Name("a.py", 3, "add")]


def test_a_class_and_a_module_need_a_docstring() -> None:
    assert missing("class Room: ...\n") == ["module", "Room"]
    assert missing("") == []


def test_members_of_a_protocol_need_no_docstring() -> None:
    source = '"""Defines a protocol."""\nclass Seat(Protocol):\n    """Describes a seat."""\n    def take(self): ...\n'
    assert missing(source) == []
    assert missing(source.replace("Protocol", "Base")) == ["Seat.take"]


def test_an_override_needs_no_docstring() -> None:
    base = '"""Defines bases."""\nclass Base:\n    """Describes a base."""\n    def run(self):\n        """Run."""\n'
    middle = '"""Extends."""\nclass Middle(base.Base):\n    """Extends the base."""\n'
    source = (
        '"""Adds."""\nclass Room(Middle):\n    """Describes it."""\n    def run(self): ...\n    def stop(self): ...\n'
    )
    assert missing(source, base=base, middle=middle) == ["Room.stop"]


def test_a_decorated_override_needs_no_docstring() -> None:
    source = (
        '"""Adds."""\nclass Room(Unknown):\n    """Describes it."""\n    @typing.override\n    def run(self): ...\n'
    )
    assert missing(source) == []


def test_functions_inside_functions_need_no_docstring() -> None:
    assert missing('"""Makes."""\ndef make():\n    """Make a function."""\n    def inner(): ...\n') == []


def test_vague_variables_and_parameters_are_listed_with_their_lines() -> None:
    source = "def f(found):\n    for one in found:\n        said = one\n    return [made for made in found]\n"
    assert sorted(vague_variables(source)) == [(1, "found"), (2, "one"), (3, "said"), (4, "made")]


def test_nouns_and_attributes_are_no_vague_variables() -> None:
    assert list(vague_variables("region = regions[0].found\nself.made = 1\n")) == []


def test_an_annotated_field_of_a_class_may_be_a_json_key() -> None:
    assert list(vague_variables("class Entry:\n    found: int\n    made: int = 0\n")) == []
    assert list(vague_variables("found: int = 0\n")) == [(1, "found")]
