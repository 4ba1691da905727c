from __future__ import annotations

import sys
import unicodedata

import pytest

from mjctl.cli.output.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("profile:3f2a", "profile:3f2a"),
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("\x1b[2J", r"\x1b[2J"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("C1 \x9b31m", r"C1 \x9b31m"),
        ("\x7f", r"\x7f"),
        ("evil\u202egpj.exe", r"evil\u202egpj.exe"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("lone \ud800", r"lone \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("Zoë 東京 שלום 🙂", "Zoë 東京 שלום 🙂"),
    ],
)
def test_unsafe_characters_are_escaped_and_characters_of_every_language_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_character_of_unicode_reaches_a_terminal_as_a_control() -> None:
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, hex(code)


def test_a_caller_can_keep_line_ends() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_an_escaped_text_is_not_escaped_again() -> None:
    once = printable("\x1b[31m\n\u202e")
    assert printable(once) == once
