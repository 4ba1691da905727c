"""Finds the network address of a player whose request reached API Gateway through CloudFront.

API Gateway reports the address of its TCP peer, which is an address of CloudFront for such a request. A limit for each
address would then count all players of an edge location together, and a stranger could use up a player's calls.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def viewer_address(peer: str, forwarded_for: str, edge_networks: Collection[Network]) -> str:
    """Return the address of the client that sent a request.

    CloudFront appends the address of its client to the header X-Forwarded-For:
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#RequestCustomIPAddresses
    A client can write any address before the appended one. The function believes only a header that comes from an
    address of CloudFront, and only the address that CloudFront appended.

    Args:
        peer: address of the TCP peer of API Gateway.
        forwarded_for: the header X-Forwarded-For, or "" without the header.
        edge_networks: networks from which CloudFront calls origins. Without networks, no header is believed.
    """
    if not is_from_edge(peer, edge_networks):
        return peer
    addresses = [address.strip() for address in forwarded_for.split(",")]
    # API Gateway may append the peer's address.
    if addresses[-1] == peer:
        addresses.pop()
    return addresses[-1] if addresses and _parsed(addresses[-1]) is not None else peer


def is_from_edge(peer: str, edge_networks: Collection[Network]) -> bool:
    """Return whether the TCP peer of API Gateway is an address of CloudFront."""
    known = _parsed(peer)
    return known is not None and any(known in network for network in edge_networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
