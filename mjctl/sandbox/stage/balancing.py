"""The state that all connections of the load balancers' proxy share: routes, loads of targets, firewalls and counts."""

from __future__ import annotations

import random
import ssl
from collections import Counter, defaultdict
from collections.abc import Mapping

from mjctl.sandbox.stage.firewall import Firewall, FirewallDecision
from mjctl.sandbox.stage.routes import PoolMember, ProxyReport, Routes, TargetPool
from mjctl.sandbox.stage.target_side import MemberKey, TargetSide
from mjctl.sandbox.stage.web_request import WebRequest

_MOST_IDLE_CONNECTIONS = 32


class Balancing:
    """Chooses a target for each request, and keeps open connections to targets.

    Attributes:
        routes: The current routes.
        outstanding: The number of requests and WebSockets that each target serves now.
        in_use: The connections to each target that now carry a request or a WebSocket.
        balancers: The counts of each load balancer, e.g. of its requests, by the names of CloudWatch's metrics.
        pools: The counts of each target group, by the names of CloudWatch's metrics.
    """

    def __init__(self) -> None:
        self.routes = Routes()
        self.outstanding: Counter[MemberKey] = Counter()
        self.in_use: dict[MemberKey, set[TargetSide]] = defaultdict(set)
        self.balancers: dict[str, Counter[str]] = defaultdict(Counter)
        self.pools: dict[str, Counter[str]] = defaultdict(Counter)
        self._firewalls: dict[str, Firewall] = {}
        self._firewall_counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self._idle: dict[MemberKey, list[TargetSide]] = defaultdict(list)
        self._turns: Counter[str] = Counter()
        # Verify no certificate, because a load balancer of AWS does not verify the certificates of its targets.
        self._secure = ssl.create_default_context()
        self._secure.check_hostname = False
        self._secure.verify_mode = ssl.CERT_NONE

    def update(self, routes: Routes) -> None:
        """Use new routes, and close the connections to targets whose deregistration is complete."""
        self.routes = routes
        kept = {(group, *member) for group, pool in routes.pools.items() for member in pool.kept}
        usable = {(group, *member) for group, pool in routes.pools.items() for member in pool.usable}
        for key in [key for key in self.in_use if key not in kept]:
            for target in list(self.in_use.pop(key)):
                target.cut()
        for key in [key for key in self._idle if key not in usable]:
            for target in self._idle.pop(key):
                target.cut()
        before = self._firewalls
        self._firewalls = {
            arn: before[arn]
            if arn in before and before[arn].documents == documents
            else Firewall(documents, before.get(arn))
            for arn, documents in routes.firewalls.items()
        }

    def choose(self, groups: Mapping[str, int]) -> tuple[TargetPool, PoolMember] | None:
        """Return the target for a new request, or None if no target is registered.

        Args:
            groups: The weights of the target groups to which the rule's action forwards, by the groups' ARNs.
        """
        weighted = {group: weight for group, weight in groups.items() if weight > 0 and group in self.routes.pools}
        if not weighted:
            return None
        group = random.choices(list(weighted), list(weighted.values()))[0]
        pool = self.routes.pools[group]
        members = pool.usable
        if not members:
            return None
        if pool.algorithm == "weighted_random":
            return pool, random.choice(members)
        # `min` returns the first of several targets with an equal number of requests, so rotate the order of the
        # targets.
        self._turns[group] += 1
        first = self._turns[group] % len(members)
        rotated = [*members[first:], *members[:first]]
        if pool.algorithm == "least_outstanding_requests":
            return pool, min(rotated, key=lambda member: self.outstanding[group, *member])
        return pool, rotated[0]

    def security(self, pool: TargetPool) -> ssl.SSLContext | None:
        """Return the TLS settings for connections to the targets of a pool, or None for connections without TLS."""
        return self._secure if pool.protocol == "HTTPS" else None

    def release(self, key: MemberKey) -> None:
        """Reduce the number of requests and WebSockets that a target serves by 1."""
        self.outstanding[key] -= 1
        if self.outstanding[key] <= 0:
            del self.outstanding[key]

    def take_idle(self, key: MemberKey) -> TargetSide | None:
        """Return an open connection to a target that carries no request, or None if no connection is open."""
        idle = self._idle.get(key)
        return idle.pop() if idle else None

    def keep_idle(self, key: MemberKey, target: TargetSide) -> None:
        """Keep an open connection for a later request.

        Close an open connection to a target that gets no new requests.
        """
        pool = self.routes.pools.get(key[0])
        if pool is None or key[1:] not in pool.usable or len(self._idle[key]) >= _MOST_IDLE_CONNECTIONS:
            target.cut()
        else:
            self._idle[key].append(target)

    def forget_idle(self, key: MemberKey, target: TargetSide) -> None:
        """Remove a connection that its target has closed from the connections for later requests."""
        if target in self._idle.get(key, ()):
            self._idle[key].remove(target)

    def decide(self, firewall: str, request: WebRequest) -> FirewallDecision | None:
        """Return the decision of a web ACL, or None if the proxy does not know the web ACL yet."""
        known = self._firewalls.get(firewall)
        if known is None:
            return None
        decision = known.evaluate(request)
        counts = self._firewall_counts[firewall]
        name = "AllowedRequests" if decision.allowed else "BlockedRequests"
        counts[decision.rule][name] += 1
        counts["ALL"][name] += 1
        for rule in decision.counted:
            counts[rule]["CountedRequests"] += 1
        return decision

    def report(self, listening: list[PoolMember], failed: Mapping[str, str]) -> ProxyReport:
        """Return the proxy's report for the stage: its listeners and counts."""
        return ProxyReport(
            listening=listening,
            failed=failed,
            balancers={name: dict(counts) for name, counts in self.balancers.items()},
            pools={group: dict(counts) for group, counts in self.pools.items()},
            firewalls={
                acl: {rule: dict(counts) for rule, counts in rules.items()}
                for acl, rules in self._firewall_counts.items()
            },
        )
