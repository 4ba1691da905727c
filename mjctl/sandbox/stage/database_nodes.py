"""Runs a PostgreSQL server for every instance of ministack's Aurora clusters.

ministack keeps the records of the clusters. `DatabaseNodes` starts and stops servers as the records describe them, also
after a failover or a switchover of a global database has changed the records.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.stage import database_records, postgres_server
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.database_cluster import DatabaseCluster
from mjctl.sandbox.stage.database_measures import DatabaseMeasures
from mjctl.sandbox.stage.database_network import DatabaseNetwork
from mjctl.sandbox.stage.database_records import ClusterScope, Record
from mjctl.sandbox.stage.rounds import Rounds, socket_folder

Handler = Callable[..., Any]

logger = logging.getLogger("mjctl.sandbox.stage")


class DatabaseNodes:
    """Runs the PostgreSQL servers of all Aurora clusters, as a part of the stage."""

    def __init__(self, context: StageContext) -> None:
        """Create the object without a change of ministack."""
        self._context = context
        self._sockets = socket_folder(context.addresses)
        self._network = DatabaseNetwork(context.engine, self._sockets)
        self._clusters: dict[ClusterScope, DatabaseCluster] = {}
        self._reboots: set[ClusterScope] = set()
        self._measures = DatabaseMeasures(context.metrics)
        self._rounds = Rounds("DatabaseNodes", self._correct_all)

    def install(self) -> None:
        """Correct ministack's RDS, and let the stage publish the DNS names of the endpoints."""
        from ministack.services import rds

        # Switch off ministack's own containers, because ministack runs one container for all instances of a cluster.
        wrap(rds, "_get_docker", lambda _: lambda: None)
        wrap(rds, "_attach_instance_to_shared_cluster", _attach_with_endpoint)
        wrap(rds, "_create_db_cluster", _with_write_forwarding)
        wrap(rds, "_modify_db_cluster", _with_write_forwarding)
        wrap(rds, "_create_db_instance", _create_instance)
        wrap(rds, "_finish_instance_reboot", self._reboot)
        wrap(rds, "_failover_db_cluster", _fail_over)
        wrap(rds, "_switchover_global_cluster", _switch_writer("switching-over"))
        wrap(rds, "_failover_global_cluster", _switch_writer("failing-over"))
        self._context.engine.recipes.append((re.compile(f"^{postgres_server.IMAGE}$"), postgres_server.recipe))
        self._context.names.append(self._names)
        self._network.install()
        self._context.measures.append(self._measure)

    def look(self) -> None:
        """Start a correction of the servers in a background thread."""
        self._rounds.request()

    def close(self) -> None:
        """Stop the corrections of the servers. The stage ends the servers afterwards."""
        self._rounds.close()
        self._network.close()

    def _correct_all(self) -> None:
        records = dict(database_records.clusters())
        for scope in set(self._clusters) - set(records):
            self._clusters.pop(scope).remove()
        for scope in records:
            if scope not in self._clusters:
                self._clusters[scope] = DatabaseCluster(self._context, scope, self._sockets, self._network)
        writers = {scope: database_records.writer_scope(scope, record) for scope, record in records.items()}
        # A switchover loses no data, because the former writer ends before the new writer is promoted.
        for scope, writer in writers.items():
            if scope != writer:
                self._clusters[scope].stop_as_former_writer()
        # Correct the clusters that write before the secondary clusters, which copy from the clusters that write.
        for scope in sorted(records, key=lambda scope: scope != writers[scope]):
            try:
                self._correct(scope, records[scope], writers[scope], records.get(writers[scope]))
            except Exception:
                logger.exception("the cluster %s was not corrected", scope.name)

    def _correct(self, scope: ClusterScope, record: Record, writer: ClusterScope, writer_record: Record | None) -> None:
        cluster = self._clusters[scope]
        for instance in [reboot for reboot in self._reboots if reboot[:2] == scope[:2]]:
            if instance.name in database_records.instances_of(scope, record):
                cluster.reboot(instance.name)
                self._reboots.discard(instance)
        is_writer = scope == writer
        if is_writer:
            cluster.promote(record)
        upstream = self._clusters[writer].source(writer_record) if writer_record is not None and not is_writer else None
        cluster.correct(record, upstream, is_writer=is_writer)
        global_cluster = database_records.global_cluster_of(scope, record)
        if is_writer and global_cluster is not None and cluster.source(record) is not None:
            global_cluster["Status"] = "available"

    def _measure(self) -> None:
        for scope, cluster in list(self._clusters.items()):
            record = database_records.cluster_of(scope)
            if record is not None and record.get("DBClusterMembers"):
                writer = database_records.writer_scope(scope, record)
                cluster.measure(self._measures, record, None if writer == scope else writer.region)

    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for scope, cluster in list(self._clusters.items()):
            record = database_records.cluster_of(scope)
            if record is None or not record.get("DBClusterMembers"):
                continue
            addresses = cluster.addresses()
            for identifier, instance in database_records.instances_of(scope, record).items():
                if identifier in addresses:
                    names[str(instance["Endpoint"]["Address"])] = addresses[identifier]
            writer_scope = database_records.writer_scope(scope, record)
            writer = addresses.get(database_records.writer_of(record))
            readers = [address for address in addresses.values() if address != writer]
            reader = next(iter(readers), writer)
            if writer_scope != scope:
                # The cluster endpoint of a secondary cluster has no address, because all instances there are readers.
                writer = None
                reader = self._forwarded(record, writer_scope) or reader
            names |= {str(record["Endpoint"]): writer} if writer is not None else {}
            names |= {str(record["ReaderEndpoint"]): reader} if reader is not None else {}
        return names

    def _forwarded(self, record: Record, writer_scope: ClusterScope) -> str | None:
        """Return the address of the global database's writer if the secondary cluster forwards writes.

        PostgreSQL cannot forward a write to another server. The stage instead connects the clients of the secondary
        cluster to the global database's writer, so that their writes succeed. The clients also read from the writer,
        so they get newer data than on AWS:
        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-write-forwarding-apg.html
        """
        writer_record = database_records.cluster_of(writer_scope)
        if not record.get("_stage_write_forwarding") or writer_record is None or writer_scope not in self._clusters:
            return None
        return self._clusters[writer_scope].addresses().get(database_records.writer_of(writer_record))

    def _reboot(self, original: Handler) -> Handler:
        def finish(instance: Record, cluster: Record | None) -> None:
            parts = str(instance["DBInstanceArn"]).split(":")
            scope = ClusterScope(parts[4], parts[3], parts[6])
            if (
                cluster is None
                or database_records.cluster_of(scope._replace(name=cluster["DBClusterIdentifier"])) is None
            ):
                original(instance, cluster)
                return
            from ministack.services import rds

            rds._record_reboot_event(instance)
            self._reboots.add(scope)
            self._rounds.request()
            rds._end_mysql_global_instance_mutation(cluster)

        return finish


def _attach_with_endpoint(original: Handler) -> Handler:
    def attach(instance: Record, cluster: Record) -> None:
        original(instance, cluster)
        if ".cluster-" in str(cluster["Endpoint"]):
            database_records.complete_instance(cluster, instance)

    return attach


def _with_write_forwarding(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.services import rds

        answer = original(parameters)
        record = rds._clusters.get(rds._p(parameters, "DBClusterIdentifier"))
        wanted = rds._p(parameters, "EnableGlobalWriteForwarding")
        if record is not None and wanted:
            record["_stage_write_forwarding"] = wanted == "true"
        return answer

    return handle


def _create_instance(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import rds

        answer = original(parameters)
        instance = rds._instances.get(rds._p(parameters, "DBInstanceIdentifier"))
        if answer[0] != 200 or instance is None:
            return answer
        scope = ClusterScope(get_account_id(), get_region(), str(instance.get("DBClusterIdentifier") or ""))
        record = database_records.cluster_of(scope)
        if record is None:
            return answer
        database_records.complete_instance(record, instance)
        instance["DBInstanceStatus"] = "creating"
        return rds._single_instance_response("CreateDBInstanceResponse", "CreateDBInstanceResult", instance)

    return handle


def _fail_over(original: Handler) -> Handler:
    def handle(parameters: Mapping[str, Any]) -> Any:
        from ministack.services import rds

        answer = original(parameters)
        record = rds._clusters.get(rds._p(parameters, "DBClusterIdentifier"))
        if answer[0] == 200 and record is not None:
            record["Status"] = "failing-over"
        return answer

    return handle


def _switch_writer(status: str) -> Callable[[Handler], Handler]:
    def make(original: Handler) -> Handler:
        def handle(parameters: Mapping[str, Any]) -> Any:
            from ministack.services import rds

            answer = original(parameters)
            record = rds._global_clusters.get(rds._p(parameters, "GlobalClusterIdentifier"))
            if answer[0] == 200 and record is not None:
                record["Status"] = status
            return answer

        return handle

    return make
