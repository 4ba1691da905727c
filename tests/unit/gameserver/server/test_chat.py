from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gameserver.protocol import MAX_CHAT_LENGTH, UnsaidReason
from gameserver.server.chat import BURST, Chat, NotSaid, place_of, sanitise


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_player_may_send_a_few_lines_at_once_and_then_one_every_two_seconds() -> None:
    clock = Clock()
    chat = Chat("m", None, clock)
    for number in range(BURST):
        assert chat.accept(0, f"line {number}") == f"line {number}"
    with pytest.raises(NotSaid) as refused:
        chat.accept(0, "one more")
    assert refused.value.reason == UnsaidReason.RATE
    assert chat.accept(1, "another player") == "another player"
    clock.now += 2.0
    assert chat.accept(0, "again") == "again"
    with pytest.raises(NotSaid):
        chat.accept(0, "too soon")


def test_a_line_without_visible_text_is_refused_and_counts() -> None:
    chat = Chat("m", None, Clock())
    for _ in range(BURST):
        with pytest.raises(NotSaid) as refused:
            chat.accept(0, "\u200b \u202e\n\x00")
        assert refused.value.reason == UnsaidReason.EMPTY
    with pytest.raises(NotSaid) as refused:
        chat.accept(0, "text")
    assert refused.value.reason == UnsaidReason.RATE


async def test_without_a_key_no_line_is_sent() -> None:
    with pytest.raises(NotSaid) as refused:
        await Chat("m", None).seal("ada", "text")
    assert refused.value.reason == UnsaidReason.UNAVAILABLE


def test_a_line_belongs_to_one_player_of_one_match() -> None:
    places = {place_of(match, player).encode() for match in ("m1", "m2") for player in ("ada", "bob")}
    assert len(places) == 4


@given(st.text(max_size=4 * MAX_CHAT_LENGTH))
def test_any_text_becomes_one_bounded_printable_line(raw: str) -> None:
    text = sanitise(raw)
    assert len(text) <= MAX_CHAT_LENGTH
    assert text == text.strip()
    # U+200D, which joins emoji, is the only format character that may stay.
    assert all(c in " \u200d" or unicodedata.category(c)[0] not in "CZ" for c in text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("  gg \n wp ", "gg wp"),
        ("\u202eevil", "evil"),
        ("<b>no markup</b>", "<b>no markup</b>"),
        ("x" * 900, "x" * 200),
        ("Z" + "\u0335" * 199, "Z" + "\u0335" * 3),
    ],
)
def test_a_line_keeps_only_its_visible_text(raw: str, shown: str) -> None:
    assert sanitise(raw) == shown
