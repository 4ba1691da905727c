"""Decides by security groups whether one resource may open a connection to another resource.

A connection needs a rule of the source for outbound traffic and a rule of the destination for inbound traffic. The
answers within an allowed connection need no rule, because security groups are stateful. If no rule allows a connection,
AWS drops the packets, and the source's attempt to connect times out.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any

Json = Mapping[str, Any]

_PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp"}
_ALL = "-1"

# This IP address stands for every player and for every public endpoint of AWS. No security group names this address,
# because it is reserved for documentation: https://www.rfc-editor.org/rfc/rfc5737
SOMEWHERE = IPv4Network("198.51.100.1/32")


@dataclass(frozen=True)
class NetworkEnd:
    """Describes the source or the destination of a connection.

    Attributes:
        name: The name of the resource, for messages.
        groups: The ids of the security groups; None if no security group protects the resource.
        networks: The networks that contain the resource's address: one subnet, or several subnets if the subnet of
            the resource is not known. A rule for a CIDR block applies if the block contains all these networks.
    """

    name: str
    groups: frozenset[str] | None
    networks: tuple[IPv4Network, ...]


INTERNET = NetworkEnd("the internet", None, (SOMEWHERE,))
"""Stands for a player or for a public endpoint of AWS."""


class SecurityGroups:
    """Evaluates the rules of security groups."""

    def __init__(self, groups: Sequence[Json]) -> None:
        """Read the rules.

        Args:
            groups: Security groups as `DescribeSecurityGroups` returns them.
        """
        self._inbound = {group["GroupId"]: group.get("IpPermissions", []) for group in groups}
        self._outbound = {group["GroupId"]: group.get("IpPermissionsEgress", []) for group in groups}

    def obstacle(self, source: NetworkEnd, destination: NetworkEnd, port: int, protocol: str = "tcp") -> str | None:
        """Return why security groups prevent a connection, or None if they allow the connection.

        Args:
            source: The resource that opens the connection.
            destination: The resource that listens.
            port: The port on which the destination listens.
            protocol: `tcp` or `udp`.
        """
        what = f"{protocol} {port}"
        if source.groups is not None and not self._allow(self._outbound, source.groups, destination, port, protocol):
            return f"no outbound rule of {source.name} allows {what} to {destination.name}"
        if destination.groups is not None and not self._allow(
            self._inbound, destination.groups, source, port, protocol
        ):
            return f"no inbound rule of {destination.name} allows {what} from {source.name}"
        return None

    def _allow(
        self,
        rules: Mapping[str, Sequence[Json]],
        groups: frozenset[str],
        peer: NetworkEnd,
        port: int,
        protocol: str,
    ) -> bool:
        return any(
            _covers(rule, port, protocol) and _names(rule, peer) for group in groups for rule in rules.get(group, ())
        )


def _covers(rule: Json, port: int, protocol: str) -> bool:
    """Return whether a rule applies to the protocol and the port."""
    given = str(rule.get("IpProtocol", _ALL)).lower()
    if given == _ALL:
        return True
    if _PROTOCOLS.get(given, given) != protocol:
        return False
    return int(rule.get("FromPort", 0)) <= port <= int(rule.get("ToPort", 65_535))


def _names(rule: Json, peer: NetworkEnd) -> bool:
    """Return whether a rule names a security group or a network of the resource at the other end of the connection."""
    named = {pair["GroupId"] for pair in rule.get("UserIdGroupPairs", []) if "GroupId" in pair}
    if peer.groups is not None and named & peer.groups:
        return True
    blocks = [ip_network(entry["CidrIp"], strict=False) for entry in rule.get("IpRanges", [])]
    ranges = [block for block in blocks if isinstance(block, IPv4Network)]
    return bool(peer.networks) and all(any(network.subnet_of(block) for block in ranges) for network in peer.networks)
