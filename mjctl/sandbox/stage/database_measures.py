"""Measures the PostgreSQL servers of Aurora for CloudWatch's metrics.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mjctl.sandbox.stage.metric_book import MetricBook, MetricName
from mjctl.sandbox.stage.process_usage import ProcessUsage

# A standby that has applied all data that it has received is not behind, also if the last change is old.
_LAG = """
SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000) END
  FROM pg_stat_wal_receiver WHERE status = 'streaming'
"""
_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

Sql = Callable[[str], str]


class DatabaseMeasures:
    """Records the metrics of Aurora clusters and their instances."""

    def __init__(self, book: MetricBook) -> None:
        self._book = book
        self._usage = ProcessUsage()

    def measure_instance(self, region: str, cluster: str, instance: str, sql: Sql, pid: int | None) -> None:
        """Record the use of the CPU and the connections of an instance, by the instance and by its cluster.

        Args:
            region: The region of the cluster.
            cluster: The id of the cluster.
            instance: The id of the instance.
            sql: A function that runs SQL statements at the server, and returns the rows.
            pid: The id of the server's main process.

        Raises:
            UnreachableError: the server does not answer.
        """
        values = [("DatabaseConnections", float(sql(_CONNECTIONS)), "Count")]
        used = self._usage.measure(f"{region} {instance}", [pid] if pid else [])
        if used is not None:
            # The processes of the stage share the CPUs of this machine.
            values.append(("CPUUtilization", 100 * used.cpus / (os.cpu_count() or 1), "Percent"))
        for name, value, unit in values:
            self._record(region, name, ("DBInstanceIdentifier", instance), value, unit)
            self._record(region, name, ("DBClusterIdentifier", cluster), value, unit)

    def measure_reader(self, region: str, cluster: str, instance: str, sql: Sql) -> None:
        """Record how far a reader is behind the writer of its cluster, if the reader replicates.

        Raises:
            UnreachableError: the server does not answer.
        """
        if (lag := _lag(sql)) is not None:
            dimension = ("DBInstanceIdentifier", instance)
            self._record(region, "AuroraReplicaLag", dimension, lag, "Milliseconds")
            self._record(region, "AuroraReplicaLagMaximum", ("DBClusterIdentifier", cluster), lag, "Milliseconds")

    def measure_copy(self, region: str, cluster: str, source_region: str, sql: Sql) -> None:
        """Record how far a secondary cluster is behind the writer of the global database, if the cluster replicates.

        Raises:
            UnreachableError: the server does not answer.
        """
        if (lag := _lag(sql)) is not None:
            dimensions = (("DBClusterIdentifier", cluster), ("SourceRegion", source_region))
            metric = MetricName(region, "AWS/RDS", "AuroraGlobalDBReplicationLag", dimensions, "Milliseconds")
            self._book.record(metric, lag)

    def _record(self, region: str, name: str, dimension: tuple[str, str], value: float, unit: str) -> None:
        self._book.record(MetricName(region, "AWS/RDS", name, (dimension,), unit), value)


def _lag(sql: Sql) -> float | None:
    text = sql(_LAG).strip()
    return float(text) if text else None
