"""Defines the messages between ministack's process and the load balancers' proxy. Each message is one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PoolMember = tuple[str, int]
"""The address and the port of a target."""


@dataclass(frozen=True)
class ListenerRoute:
    """Describes a listener of a load balancer.

    Attributes:
        address: The address of the load balancer.
        port: The port of the listener.
        balancer: The name of the load balancer in CloudWatch's metrics, e.g. `app/game/50dc6c495c0c9188`.
        secure: Whether the listener uses TLS.
        certificate: The file of the certificate; None if the listener has no valid certificate.
        key: The file of the private key.
        only_tls_1_3: Whether the security policy excludes TLS 1.2.
        obstacle: The reason why no player can connect, e.g. a security group; None if players can connect.
        rules: The rules in the order of their evaluation, as `DescribeRules` describes them.
        firewall: The ARN of the web ACL that protects the load balancer; None without a web ACL.
        idle_seconds: Time after which a connection without data is closed.
        keep_alive_seconds: Time for which an idle connection of a client stays open for the client's next request.
        drop_invalid_headers: Whether the load balancer removes headers with invalid names from requests.
        forwarded_for: The treatment of the header X-Forwarded-For: `append`, `preserve` or `remove`.
        forwarded_port: Whether X-Forwarded-For contains the port of the client.
        preserve_host: Whether the load balancer forwards the header Host without a change.
        server_header: Whether the load balancer adds the header Server to the answers that it creates itself.
    """

    address: str
    port: int
    balancer: str
    secure: bool
    certificate: str | None
    key: str | None
    only_tls_1_3: bool
    obstacle: str | None
    rules: Sequence[Mapping[str, Any]]
    firewall: str | None
    idle_seconds: float
    keep_alive_seconds: float
    drop_invalid_headers: bool
    forwarded_for: str
    forwarded_port: bool
    preserve_host: bool
    server_header: bool


@dataclass(frozen=True)
class TargetPool:
    """Describes the targets of a target group.

    Attributes:
        group: The ARN of the target group.
        protocol: `HTTP` or `HTTPS`.
        algorithm: `round_robin`, `least_outstanding_requests` or `weighted_random`.
        usable: The targets that get new requests.
        kept: All targets whose connections stay open, including draining targets.
        unreachable: The reason why a security group blocks connections to a target, by the target's `address:port`.
    """

    group: str
    protocol: str
    algorithm: str
    usable: Sequence[PoolMember]
    kept: Sequence[PoolMember]
    unreachable: Mapping[str, str]


@dataclass(frozen=True)
class Routes:
    """Holds all routes of the proxy.

    Attributes:
        listeners: The listeners of all load balancers.
        pools: The targets, by the ARN of the target group.
        firewalls: The documents of the web ACLs (firewall.Firewall), by the ARN of the web ACL.
    """

    listeners: Sequence[ListenerRoute] = ()
    pools: Mapping[str, TargetPool] = field(default_factory=dict)
    firewalls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_line(self) -> str:
        """Return the routes as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_line(cls, line: str | bytes) -> Routes:
        """Return the routes that `to_line` has written."""
        read = json.loads(line)
        pools = {
            group: TargetPool(
                **{**pool, "usable": [tuple(m) for m in pool["usable"]], "kept": [tuple(m) for m in pool["kept"]]}
            )
            for group, pool in read["pools"].items()
        }
        return cls([ListenerRoute(**listener) for listener in read["listeners"]], pools, read["firewalls"])


@dataclass(frozen=True)
class ProxyReport:
    """Describes the state and the traffic of the proxy. The proxy sends a report to ministack's process twice a second.

    Attributes:
        listening: The addresses and ports on which the proxy listens.
        failed: The reason why the proxy cannot listen on an address, by `address:port`.
        balancers: Counts of each load balancer since the start of the proxy, by the names of CloudWatch's metrics.
        pools: Counts of each target group.
        firewalls: Counts of each web ACL by rule.
    """

    listening: Sequence[PoolMember] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    balancers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pools: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    firewalls: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def to_line(self) -> str:
        """Return the report as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str | bytes) -> ProxyReport:
        """Return the report that `to_line` has written."""
        read = json.loads(line)
        read["listening"] = [tuple(place) for place in read["listening"]]
        return cls(**read)
