from __future__ import annotations

import ipaddress

import pytest

from gameserver.functions.viewer import viewer_address

EDGE = [ipaddress.ip_network("203.0.113.0/24")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.9", "192.0.2.1", "192.0.2.1"),
        ("203.0.113.9", "192.0.2.1, 203.0.113.9", "192.0.2.1"),
        ("203.0.113.9", "198.51.100.1, 192.0.2.1, 203.0.113.9", "192.0.2.1"),
        ("203.0.113.9", "2001:db8::7,203.0.113.9", "2001:db8::7"),
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "192.0.2.1, unknown", "203.0.113.9"),
    ],
)
def test_the_address_that_cloudfront_appended_is_the_players(peer: str, forwarded_for: str, expected: str) -> None:
    assert viewer_address(peer, forwarded_for, EDGE) == expected


@pytest.mark.parametrize("forwarded_for", ["192.0.2.1", "192.0.2.1, 198.51.100.1", "203.0.113.9"])
def test_a_client_that_calls_the_api_directly_cannot_claim_another_address(forwarded_for: str) -> None:
    assert viewer_address("198.51.100.1", forwarded_for, EDGE) == "198.51.100.1"
    assert viewer_address("203.0.113.9", forwarded_for, []) == "203.0.113.9"
