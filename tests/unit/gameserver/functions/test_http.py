from __future__ import annotations

import pytest

from gameserver.functions.http import HttpError, Request, clean_display_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Ada", "Ada"),
        ("  Ada \t\n Lovelace ", "Ada Lovelace"),
        ("e\u0301", "\u00e9"),
        ("日本語", "日本語"),
        ("🎮 pro", "🎮 pro"),
        ("x" * 24, "x" * 24),
    ],
)
def test_names_are_normalised(raw: str, name: str) -> None:
    assert clean_display_name(raw) == name


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "  \n",
        "x" * 25,
        "a\u202eb",
        "a\x00b",
        "zero\u200bwidth",
        "\ud800",
        "\u2800",
        "Ada\u3164",
        "e" + "\u0335" * 4,
    ],
)
def test_invalid_names_are_refused(raw: str) -> None:
    with pytest.raises(HttpError) as caught:
        clean_display_name(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_display_name")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_rate_limit_counts_all_addresses_of_an_ipv6_network_as_one(address: str, network: str) -> None:
    assert Request(source=address).network == network


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b'{"a": 1, "zz": ' + b"[" * 8000 + b"]" * 8000 + b"}", 400),
        (b'{"zz": ' + b'{"a":' * 2500, 400),
        (b"x" * 16_385, 413),
    ],
    ids=["cut", "not-utf-8", "list", "deep lists", "deep maps", "long"],
)
def test_an_invalid_body_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        Request(body=body).json(dict[str, int])
    assert caught.value.status == status
