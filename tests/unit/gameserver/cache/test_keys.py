from __future__ import annotations

import pytest

from gameserver.cache import MISS
from gameserver.cache.keys import Pattern, check_key, split_value_key, value_prefix


def test_miss_is_false_and_differs_from_none() -> None:
    assert not MISS
    assert repr(MISS) == "MISS"
    assert MISS is not None


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("profile:*", ("profile",)),
        ("profile", ("profile",)),
        ("pro*:x", ("profile", "promo")),
        ("?romo:x", ("promo",)),
        ("[^p]*:*", ("board",)),
        ("*", ("board", "profile", "promo")),
        ("PROFILE:*", ()),
    ],
)
def test_a_pattern_selects_namespaces(text: str, selected: tuple[str, ...]) -> None:
    assert Pattern.parse(text).select(["promo", "profile", "board"]) == selected


def test_a_pattern_becomes_a_glob_over_physical_keys() -> None:
    assert Pattern.parse("profile:a:*").physical("profile", "17") == "cache:{profile}:17:a:*"
    assert Pattern.parse("profile").physical("profile", "17") == "cache:{profile}:17:*"


@pytest.mark.parametrize("key", ["a", "a:b", "}{", ":"])
def test_a_physical_key_is_split(key: str) -> None:
    assert split_value_key(f"{value_prefix('name-space')}17:{key}".encode()) == ("name-space", "17", key)


@pytest.mark.parametrize("key", ["", "x" * 513, "é" * 257])
def test_the_length_of_keys_is_limited_in_bytes(key: str) -> None:
    with pytest.raises(ValueError, match="512"):
        check_key(key)
