"""Measures the Valkey nodes of ElastiCache for CloudWatch's metrics.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheMetrics.Redis.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from mjctl.sandbox.stage.metric_book import Differences, MetricBook, MetricName
from mjctl.sandbox.stage.valkey import ValkeyConnection

_REPLICA = re.compile(r"^slave\d+$")


class CacheMeasures:
    """Records the metrics of nodes of ElastiCache."""

    def __init__(self, book: MetricBook) -> None:
        self._book = book
        self._differences = Differences()
        self._cpu_at: dict[tuple[str, str], tuple[float, float]] = {}

    def measure(
        self, region: str, member: str, connection: ValkeyConnection, members_by_address: Mapping[str, str]
    ) -> None:
        """Record the metrics of a node. A primary also tells how far its replicas are behind.

        Args:
            region: The region of the node.
            member: The id of the node.
            connection: A connection to the node.
            members_by_address: The ids of the nodes by their addresses.

        Raises:
            ValkeyError: the node does not answer.
        """
        fields = _fields(str(connection.command("INFO", "everything")))
        self._record(region, member, "CurrConnections", float(fields["connected_clients"]) - 1)
        evictions = self._differences.since_last((region, member), float(fields["evicted_keys"]))
        self._record(region, member, "Evictions", evictions)
        if limit := float(fields["maxmemory"]):
            percent = 100 * float(fields["used_memory"]) / limit
            self._record(region, member, "DatabaseMemoryUsagePercentage", percent, "Percent")
        self._engine_cpu(region, member, fields)
        for name, text in fields.items():
            if fields["role"] == "master" and _REPLICA.match(name):
                replica = dict(part.split("=", 1) for part in text.split(","))
                behind = members_by_address.get(replica["ip"])
                if behind is not None:
                    self._record(region, behind, "ReplicationLag", float(replica["lag"]), "Seconds")

    def _engine_cpu(self, region: str, member: str, fields: Mapping[str, str]) -> None:
        """Record the use of the CPU by the thread that runs the commands of clients."""
        names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
        if any(name not in fields for name in names):
            return
        now, seconds = time.monotonic(), sum(float(fields[name]) for name in names)
        started = (now - float(fields["uptime_in_seconds"]), 0.0)
        before = self._cpu_at.get((region, member), started)
        if seconds < before[1]:
            before = started
        self._cpu_at[region, member] = (now, seconds)
        percent = 100 * (seconds - before[1]) / max(now - before[0], 1.0)
        self._record(region, member, "EngineCPUUtilization", percent, "Percent")

    def _record(self, region: str, member: str, name: str, value: float, unit: str = "Count") -> None:
        metric = MetricName(region, "AWS/ElastiCache", name, (("CacheClusterId", member),), unit)
        self._book.record(metric, value)


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
