"""Tests which connections security groups allow.

https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from mjctl.sandbox.stage.reachability import INTERNET, NetworkEnd, SecurityGroups

VPC, SUBNET = IPv4Network("10.7.0.0/16"), IPv4Network("10.7.1.0/24")
BALANCER = NetworkEnd("load balancer", frozenset({"sg-lb"}), (SUBNET,))
TASK = NetworkEnd("task", frozenset({"sg-task"}), (SUBNET,))
CACHE = NetworkEnd("cache", frozenset({"sg-cache"}), (SUBNET,))


def permission(port: int | None, *, group: str = "", block: str = "", protocol: str = "tcp") -> dict[str, Any]:
    ports = {} if port is None else {"FromPort": port, "ToPort": port}
    return {
        "IpProtocol": protocol,
        **ports,
        "IpRanges": [{"CidrIp": block}] if block else [],
        "UserIdGroupPairs": [{"GroupId": group}] if group else [],
    }


def groups(**rules: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> SecurityGroups:
    return SecurityGroups(
        [
            {"GroupId": f"sg-{name}", "IpPermissions": inbound, "IpPermissionsEgress": outbound}
            for name, (inbound, outbound) in rules.items()
        ]
    )


EVERYTHING = permission(None, block="0.0.0.0/0", protocol="-1")


def game() -> SecurityGroups:
    """Return the security groups of the production stack: load balancer, game servers and cache."""
    return groups(
        lb=([permission(443, block="0.0.0.0/0")], [permission(8080, group="sg-task")]),
        task=(
            [permission(8080, group="sg-lb"), permission(8080, group="sg-task")],
            [permission(443, block="0.0.0.0/0"), permission(6379, block=str(VPC))],
        ),
        cache=([permission(6379, group="sg-task")], []),
    )


@pytest.mark.parametrize(
    ("source", "destination", "port"),
    [(INTERNET, BALANCER, 443), (BALANCER, TASK, 8080), (TASK, CACHE, 6379), (TASK, INTERNET, 443)],
)
def test_connections_with_a_rule_at_both_ends_are_allowed(
    source: NetworkEnd, destination: NetworkEnd, port: int
) -> None:
    assert game().obstacle(source, destination, port) is None


@pytest.mark.parametrize(
    ("source", "destination", "port", "reason"),
    [
        (INTERNET, TASK, 8080, "no inbound rule of task allows tcp 8080 from the internet"),
        (INTERNET, BALANCER, 80, "no inbound rule of load balancer allows tcp 80 from the internet"),
        (BALANCER, TASK, 8081, "no outbound rule of load balancer allows tcp 8081 to task"),
        (BALANCER, CACHE, 6379, "no outbound rule of load balancer allows tcp 6379 to cache"),
        (TASK, TASK, 8080, "no outbound rule of task allows tcp 8080 to task"),
        (CACHE, TASK, 8080, "no outbound rule of cache allows tcp 8080 to task"),
    ],
)
def test_a_connection_needs_a_rule_at_each_end(
    source: NetworkEnd, destination: NetworkEnd, port: int, reason: str
) -> None:
    assert game().obstacle(source, destination, port) == reason


def test_a_block_must_contain_every_subnet_in_which_the_resource_can_be() -> None:
    half = groups(lb=([], [permission(8080, block="10.7.1.0/25")]), task=([EVERYTHING], []))
    assert half.obstacle(BALANCER, TASK, 8080) is not None
    two = NetworkEnd("task", frozenset({"sg-task"}), (SUBNET, IPv4Network("10.7.2.0/24")))
    first_only = groups(lb=([], [permission(8080, block=str(SUBNET))]), task=([EVERYTHING], []))
    assert first_only.obstacle(BALANCER, TASK, 8080) is None
    assert first_only.obstacle(BALANCER, two, 8080) is not None


def test_a_rule_for_a_group_does_not_apply_to_its_addresses() -> None:
    rules = groups(lb=([], [EVERYTHING]), task=([permission(8080, group="sg-other")], []))
    assert rules.obstacle(BALANCER, TASK, 8080) is not None
    both = NetworkEnd("balancer", frozenset({"sg-lb", "sg-other"}), (SUBNET,))
    assert rules.obstacle(both, TASK, 8080) is None


@pytest.mark.parametrize(
    ("protocol", "port", "allowed"), [("-1", None, True), ("6", 8080, True), ("tcp", 8081, False), ("udp", 8080, False)]
)
def test_protocols_have_names_and_numbers(protocol: str, port: int | None, *, allowed: bool) -> None:
    rules = groups(task=([permission(port, block="0.0.0.0/0", protocol=protocol)], []))
    assert (rules.obstacle(INTERNET, TASK, 8080) is None) is allowed


def test_a_resource_without_security_groups_allows_every_connection() -> None:
    outside = NetworkEnd("server", None, (IPv4Network("203.0.113.9/32"),))
    assert groups(task=([], [EVERYTHING])).obstacle(TASK, outside, 80) is None
    assert groups(task=([EVERYTHING], [])).obstacle(TASK, outside, 80) is not None


def test_an_unknown_security_group_allows_nothing() -> None:
    assert groups().obstacle(INTERNET, TASK, 8080) is not None
