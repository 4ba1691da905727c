from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gameserver.functions.http import HttpError, clean_display_name
from gameserver.protocol import sanitise_name
from gameserver.visible_text import normalise, shorten, visible

FAMILY = "👨\u200d👩\u200d👧\u200d👦"

BLANK = {
    "braille pattern blank": "\u2800",
    "hangul filler": "\u3164",
    "hangul choseong filler": "\u115f",
    "hangul jungseong filler": "\u1160",
    "halfwidth hangul filler": "\uffa0",
    "combining grapheme joiner": "\u034f",
    "zero width joiner": "\u200d",
    "emoji style": "\ufe0f",
    "zero width space": "\u200b",
    "word joiner": "\u2060",
    "tag letter": "\U000e0061",
    "right-to-left override": "\u202e",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "a mark alone": "\u0301",
    "private use": "\ue000",
}


@pytest.mark.parametrize("character", BLANK.values(), ids=BLANK)
def test_a_name_of_invisible_characters_is_empty(character: str) -> None:
    for raw in (character, character * 3, f" {character} {character}"):
        assert visible(raw) == ""
        assert sanitise_name(raw, "player-1") == "player-1"
        with pytest.raises(HttpError):
            clean_display_name(raw)


@pytest.mark.parametrize(
    "name",
    [
        FAMILY,
        f"Ada {FAMILY}",
        "❤\ufe0f\u200d🔥",
        "👩🏽\u200d🚀",
        "🏳\ufe0f\u200d🌈",
        "1\ufe0f\u20e3st",
        "日本語",
        "Đặng Thị Ngọc",
        "שָׁלוֹם",
        "مُحَمَّد",
        "क्षत्रिय",
        "นํ้า",
        "O'Neill-Smith_7!",
    ],
)
def test_names_of_people_and_emoji_are_kept(name: str) -> None:
    expected = unicodedata.normalize("NFC", name)
    assert clean_display_name(name) == expected
    assert sanitise_name(name, "player-1") == expected


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Z" + "\u0335" * 23, "Z" + "\u0335" * 3),
        ("a\u200db", "ab"),
        ("👨\u200d", "👨"),
        ("\u200d👨", "👨"),
        ("👨\u200d\u200d👩", "👨\u200d👩"),
        ("👨\u200d\u2800", "👨"),
        ("a \u0301b", "a b"),
    ],
)
def test_invisible_characters_are_removed(raw: str, shown: str) -> None:
    assert visible(raw) == shown
    with pytest.raises(HttpError):
        clean_display_name(raw)


def test_a_shortened_text_does_not_end_in_half_of_a_joined_emoji() -> None:
    assert shorten(f"abc{FAMILY}", 5) == "abc👨"
    assert shorten("abc def", 4) == "abc"


@given(st.text(max_size=60))
@example("👨\u200d\u2800")
@example("\u0f73\u0f75\u0344")
def test_a_second_pass_changes_nothing(raw: str) -> None:
    text = visible(raw)
    assert visible(text) == text == normalise(text)
    assert sum(character.isspace() for character in text) <= len(text.split())
