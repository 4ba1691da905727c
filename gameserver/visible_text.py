"""Reduces the names and chat lines of players to the characters that a reader can see."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_BLANKS: Final = re.compile(r"\s+")

_JOINER: Final = "\u200d"
_EMOJI_STYLE: Final = "\ufe0f"

_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
"""Characters that Unicode classifies as letters or symbols, although every font draws them as a blank."""

_INVISIBLE_MARKS: Final = frozenset("\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f")

_MARKS_AT_MOST: Final = 3
"""Largest number of combining marks on one character.

Arabic, Hebrew and Vietnamese need up to three marks on a character. A hundred marks on a character would cover the
lines above and below.
"""


def normalise(raw: str) -> str:
    """Return `raw` in Unicode's form NFC, with one blank between two words and no blank at the ends."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", raw)).strip()


def visible(raw: str) -> str:
    """Return `raw` normalised and without invisible characters.

    `visible` removes control, format and bidirectional characters, unassigned code points, characters that fonts
    draw as a blank, and all marks on a character after the third mark. A zero-width joiner (U+200D) stays only between
    two emoji, as in the emoji of a family. The result is empty if `raw` has no visible character.
    """
    kept: list[str] = []
    marks = 0
    text = normalise(raw)
    for index, character in enumerate(text):
        if character == _JOINER:
            if kept and _is_emoji(kept[-1]) and index + 1 < len(text) and _is_pictograph(text[index + 1]):
                kept.append(character)
            continue
        if character == _EMOJI_STYLE:
            if kept and (_is_pictograph(kept[-1]) or kept[-1] in "#*0123456789"):
                kept.append(character)
            continue
        kind = unicodedata.category(character)
        if kind[0] == "M":
            # A font draws a combining mark on the character in front of it, so keep the mark only after a visible
            # character.
            if kept and kept[-1] != " " and marks < _MARKS_AT_MOST and not _is_blank(character):
                kept.append(character)
                marks += 1
            continue
        if character == " " or (kind[0] in "LNPS" and not _is_blank(character)):
            kept.append(character)
            marks = 0
    return normalise("".join(kept))


def shorten(text: str, length: int) -> str:
    """Return the first `length` characters of a visible text, without a joiner or a blank at the end."""
    return text[:length].rstrip(_JOINER + " ")


def _is_blank(character: str) -> bool:
    # The two ranges of characters are Unicode's variation selectors, except U+FE0F, the selector for the style of an
    # emoji.
    return (
        character in _BLANK_LETTERS
        or character in _INVISIBLE_MARKS
        or "\ufe00" <= character <= "\ufe0e"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def _is_pictograph(character: str) -> bool:
    """Return True if the character can be part of a joined emoji.

    A joined emoji consists of pictures, the signs for woman, man and heart, and the skin tones.
    """
    return (
        unicodedata.category(character) == "So" and not _is_blank(character)
    ) or "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_emoji(character: str) -> bool:
    return character == _EMOJI_STYLE or _is_pictograph(character)
